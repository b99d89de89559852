"""How the server is. No credential is needed."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any, Final, Literal

from litestar import Request, Response, get
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from msgspec import Struct

from app.controllers.system import VERSION
from app.health import Report, State
from app.services import Services, services_of
from inference.dispatcher import DispatcherStats
from inference.supervision import Staff

_UNAVAILABLE: Final = 503


class StaffInfo(Struct):
    """The workers of one model: what they are now, and counters since the start."""

    wanted: int
    working: int
    restarts: int
    hung: int
    retried: int
    out_of_memory: int
    abandoned: int
    exhausted: bool


class Worker(Struct):
    """The queue and the workers of one kind of model."""

    queued: dict[str, int]
    running: int
    batches: int
    rows: int
    superseded: int
    rejected: int
    failed: int
    wait_p50_seconds: float
    wait_p95_seconds: float


class MachineInfo(Struct):
    """CPU in percent of all cores; memory and disk in MiB; a container's limits, if tighter."""

    cpu_percent: float
    cpu_minute_percent: float
    cpu_count: int
    memory_used_percent: float
    memory_available_mib: int
    memory_limit_mib: int | None
    process_mib: int
    disk_used_percent: float
    disk_free_mib: int
    gpu_memory_used_percent: list[float]


class CapacityInfo(Struct):
    """Whether one more speaker would be taken; shares of 1, and seconds."""

    room: bool
    strain: float
    final_wait_seconds: float
    speakers: int
    refused: int


class CheckInfo(Struct):
    """What was found of one thing: ``degraded`` from ``warn`` on, and ``critical``."""

    name: str
    status: State
    reason: str | None
    value: float | None
    unit: str | None
    warn: float | None
    critical: float | None


class Health(Struct):
    """``reasons`` says in words why the status is not ok, the worst first."""

    status: State
    reasons: list[str]
    checks: list[CheckInfo]
    version: str
    uptime_seconds: float
    ready: bool
    draining: bool
    models: dict[str, str]
    workers: dict[str, Worker]
    staff: dict[str, StaffInfo]
    sessions: int
    capacity: CapacityInfo
    loop_delay_p99_seconds: float
    machine: MachineInfo
    store: Literal["ok", "unavailable"]


class ReadinessInfo(Struct):
    status: Literal["ok", "starting", "draining", "unavailable"]


class Liveness(Struct):
    status: Literal["ok", "restart"]


@get(
    "/health",
    summary="How the server is",
    description="As bad as the worst of the checks, which are at most a second old. 200 when `ok` "
    "or `degraded`, 503 when `critical`, with the same body.",
    tags=["system"],
    operation_id="health",
    responses={
        _UNAVAILABLE: ResponseSpec(Health, generate_examples=False, description="Critical.")
    },
)
async def health(request: Request[Any, Any, Any]) -> Response[Health]:
    services = services_of(request)
    report = await services.health.report()
    code = _UNAVAILABLE if report.status == "critical" else 200
    return Response(_health(services, report), status_code=code)


@get(
    "/health/simple",
    summary="Readiness, for load balancers",
    tags=["system"],
    operation_id="readiness",
    responses={
        _UNAVAILABLE: ResponseSpec(
            ReadinessInfo,
            generate_examples=False,
            description="Not ready: starting, draining, or the models do not answer.",
            examples=[Example(value={"status": "draining"})],
        )
    },
)
async def readiness(request: Request[Any, Any, Any]) -> Response[ReadinessInfo]:
    status = services_of(request).readiness
    if status == "ok":
        return Response(ReadinessInfo("ok"))
    return Response(ReadinessInfo(status), status_code=_UNAVAILABLE, headers={"Retry-After": "5"})


@get(
    "/health/live",
    summary="Liveness, for supervisors",
    tags=["system"],
    operation_id="liveness",
    responses={
        _UNAVAILABLE: ResponseSpec(
            Liveness,
            generate_examples=False,
            description="Only a restart helps: too many calls of a model hang, or one that is "
            "needed has not answered for a minute.",
            examples=[Example(value={"status": "restart"})],
        )
    },
)
async def liveness(request: Request[Any, Any, Any]) -> Response[Liveness]:
    if services_of(request).alive:
        return Response(Liveness("ok"))
    return Response(Liveness("restart"), status_code=_UNAVAILABLE)


def _health(services: Services, report: Report) -> Health:
    stores = [check for check in report.checks if check.name in ("redis", "database", "store")]
    answers = all(check.value is not None for check in stores)
    machine = asdict(services.machine.latest)
    machine["gpu_memory_used_percent"] = list(machine["gpu_memory_used_percent"])
    return Health(
        status=report.status,
        reasons=list(report.reasons),
        checks=[CheckInfo(**asdict(check)) for check in report.checks],
        version=VERSION,
        uptime_seconds=round(time.monotonic() - services.started_at, 1),
        ready=services.ready,
        draining=services.draining,
        models={"speech": services.recognizer.model},
        workers={name: _worker(stats) for name, stats in services.stats().items()},
        staff={name: _staff(staff) for name, staff in services.staff().items()},
        sessions=len(services.sessions),
        capacity=_capacity(services),
        loop_delay_p99_seconds=round(services.lag.quantile(0.99), 4),
        machine=MachineInfo(**machine),
        store="ok" if answers else "unavailable",
    )


def _staff(staff: Staff) -> StaffInfo:
    return StaffInfo(**asdict(staff))


def _worker(stats: DispatcherStats) -> Worker:
    return Worker(
        queued={priority.name.lower(): count for priority, count in stats.queued.items()},
        running=stats.running,
        batches=stats.batches,
        rows=stats.rows,
        superseded=stats.superseded,
        rejected=stats.rejected,
        failed=stats.failed,
        wait_p50_seconds=round(stats.wait(0.5), 3),
        wait_p95_seconds=round(stats.wait(0.95), 3),
    )


def _capacity(services: Services) -> CapacityInfo:
    pressure = services.recognizer.pressure
    return CapacityInfo(
        room=services.capacity.room,
        strain=round(pressure.strain, 3),
        final_wait_seconds=round(pressure.wait, 3),
        speakers=pressure.speakers,
        refused=services.capacity.refused,
    )
