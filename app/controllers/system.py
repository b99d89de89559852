"""What the server is, how it is, and what it can do. No credential is needed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

from litestar import MediaType, Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import FromPath
from msgspec import Struct

from app import pages
from app.services import Services, services_of
from guards.adaptive import LEVELS
from guards.errors import StoreUnavailable
from inference.dispatcher import DispatcherStats
from streaming.types import RouteKind
from streaming.wire import PROTOCOL_VERSION

VERSION: Final = version("surtitle")

_SLOW_SECONDS: Final = 1.0
_FULL_PERCENT: Final = 95.0

State = Literal["ok", "degraded", "critical"]


class Information(Struct):
    """What this server is, and where things are."""

    name: str
    version: str
    protocol: int
    stream: str
    schema: str
    health: str
    model: str


class RouteInfo(Struct):
    """How one target is reached."""

    target: str
    kind: RouteKind
    engine: str


class LanguageInfo(Struct):
    """One language: whether it can be spoken, and what it can be translated into."""

    code: str
    name: str
    targets: list[str]
    speech: bool
    routes: list[RouteInfo]


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
    """CPU in percent of all cores; memory and disk in MiB."""

    cpu_percent: float
    cpu_count: int
    memory_used_percent: float
    memory_available_mib: int
    process_mib: int
    disk_used_percent: float
    disk_free_mib: int


class CapacityInfo(Struct):
    """Whether one more speaker would be taken; shares of 1, and seconds."""

    room: bool
    strain: float
    final_wait_seconds: float
    speakers: int
    refused: int


class Health(Struct):
    """``reasons`` says in words why the status is not ok."""

    status: State
    reasons: list[str]
    version: str
    uptime_seconds: float
    ready: bool
    draining: bool
    models: dict[str, str]
    workers: dict[str, Worker]
    sessions: int
    capacity: CapacityInfo
    loop_delay_p99_seconds: float
    machine: MachineInfo
    store: Literal["ok", "unavailable"]


class Readiness(Struct):
    status: Literal["ok", "starting", "draining"]


@get(
    "/",
    summary="Service information, or the demo page",
    description="JSON; a browser (`Accept: text/html`) is given the demo page.",
    tags=["system"],
    media_type=MediaType.JSON,
    operation_id="information",
    responses={200: ResponseSpec(Information, generate_examples=False, description="About.")},
)
async def root(request: Request[Any, Any, Any]) -> Response[Any]:
    if request.accept.best_match(["application/json", "text/html"]) == "text/html":
        return await _page(request, "index.html", {"Vary": "Accept"})
    information = Information(
        name="Surtitle",
        version=VERSION,
        protocol=PROTOCOL_VERSION,
        stream="/v1/stream",
        schema="/schema",
        health="/health",
        model=services_of(request).recognizer.model,
    )
    return Response(information, headers={"Vary": "Accept"})


@get("/demo/{name:path}", include_in_schema=False)
async def demo_file(request: Request[Any, Any, Any], name: FromPath[Path]) -> Response[bytes]:
    return await _page(request, name.as_posix().lstrip("/"), {})


async def _page(
    request: Request[Any, Any, Any], name: str, headers: dict[str, str]
) -> Response[bytes]:
    page = await asyncio.to_thread(pages.read, name)
    if page is None:
        raise NotFoundException("There is no such page.")
    headers = {**headers, "ETag": page.etag, "Cache-Control": "no-cache"}
    known = {
        tag.strip().removeprefix("W/")
        for tag in request.headers.get("if-none-match", "").split(",")
    }
    if page.etag in known:
        return Response(b"", status_code=304, headers=headers, media_type=page.media_type)
    return Response(page.content, headers=headers, media_type=page.media_type)


@get(
    "/languages",
    summary="Languages, and how each pair is served",
    description="The shape of LibreTranslate's `/languages`, with more fields.",
    tags=["system"],
    operation_id="languages",
)
async def languages(request: Request[Any, Any, Any]) -> list[LanguageInfo]:
    return [
        LanguageInfo(
            code=language.code,
            name=language.name,
            targets=[route.target for route in language.routes],
            speech=language.speech,
            routes=[RouteInfo(route.target, route.kind, route.engine) for route in language.routes],
        )
        for language in services_of(request).languages.listing()
    ]


@get("/health", summary="How the server is", tags=["system"], operation_id="health")
async def health(request: Request[Any, Any, Any]) -> Health:
    services = services_of(request)
    store: Literal["ok", "unavailable"] = "ok"
    try:
        await services.keyring.store.ping()
    except StoreUnavailable:
        store = "unavailable"
    workers = {name: _worker(stats) for name, stats in services.stats().items()}
    status, reasons = _assess(services, workers, store)
    return Health(
        status=status,
        reasons=reasons,
        version=VERSION,
        uptime_seconds=round(time.monotonic() - services.started_at, 1),
        ready=services.ready,
        draining=services.draining,
        models={"speech": services.recognizer.model},
        workers=workers,
        sessions=len(services.sessions),
        capacity=_capacity(services),
        loop_delay_p99_seconds=round(services.lag.quantile(0.99), 4),
        machine=MachineInfo(**asdict(services.machine.latest)),
        store=store,
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


@get(
    "/health/simple",
    summary="Readiness, for load balancers",
    tags=["system"],
    operation_id="readiness",
    responses={
        503: ResponseSpec(
            Readiness,
            generate_examples=False,
            description="Not ready: starting or draining.",
            examples=[Example(value={"status": "draining"})],
        )
    },
)
async def readiness(request: Request[Any, Any, Any]) -> Response[Readiness]:
    services = services_of(request)
    if services.ready and not services.draining:
        return Response(Readiness("ok"))
    body = Readiness("draining" if services.draining else "starting")
    return Response(body, status_code=503, headers={"Retry-After": "5"})


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


def _assess(services: Services, workers: dict[str, Worker], store: str) -> tuple[State, list[str]]:
    critical = []
    if not services.ready:
        critical.append("the models are still being loaded")
    if store != "ok":
        critical.append("the key store does not answer")
    degraded = []
    if services.draining:
        degraded.append("the server is shutting down")
    degraded += [
        f"{name} jobs wait {worker.wait_p95_seconds:.1f} s"
        for name, worker in workers.items()
        if worker.wait_p95_seconds > _SLOW_SECONDS
    ]
    level = services.limiter.load.level
    if level:
        degraded.append(f"limits of the lower tiers are lowered by {level} of {len(LEVELS) - 1}")
    machine = services.machine.latest
    if machine.memory_used_percent > _FULL_PERCENT:
        degraded.append("memory is nearly full")
    if machine.disk_used_percent > _FULL_PERCENT:
        degraded.append("the disk of the data directory is nearly full")
    return ("critical" if critical else "degraded" if degraded else "ok"), critical + degraded
