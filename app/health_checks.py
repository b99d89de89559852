"""What is checked of a server, put together from its services."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from app.canary import Probe, Vital
from app.health import Ask, Check, State, Thresholds, measured, stated
from app.load import queue_wait
from app.machine import SAMPLE_SECONDS, Machine
from app.settings import Settings
from guards.adaptive import LEVELS
from guards.errors import StoreUnavailable
from inference.supervision import Staff

if TYPE_CHECKING:  # it holds the reporter of these
    from app.services import Services

NEEDED: Final = frozenset({"speech", "voice"})
"""The models without which the server is of no use."""

_STALE: Final = 6 * SAMPLE_SECONDS


def asks_of(services: Services) -> dict[str, Ask]:
    """All checks, by what they are about."""
    settings = services.settings

    async def lifecycle() -> Iterable[Check]:
        return [
            stated(
                "started",
                "ok" if services.ready else "critical",
                "the models are still being loaded",
            ),
            stated(
                "draining",
                "degraded" if services.draining else "ok",
                "the server is shutting down",
            ),
        ]

    async def store() -> Iterable[Check]:
        name = "redis" if settings.redis_url else "database"
        return [await store_check(name, services.keyring.store.ping, settings.health_store_seconds)]

    async def models() -> Iterable[Check]:
        return [
            model_check(probe, vital, settings.health_model_seconds)
            for probe, vital in services.canary.vitals
        ]

    async def workers() -> Iterable[Check]:
        return worker_checks(services.staff())

    async def load() -> Iterable[Check]:
        waited = queue_wait(services.stats().values())
        late = services.lag.quantile(0.99)
        level = services.limiter.load.level
        return [
            measured(
                "queue_wait",
                waited,
                "seconds",
                settings.health_queue_wait_seconds,
                f"jobs wait {waited:.1f} s for a worker",
            ),
            measured(
                "loop_delay",
                late,
                "seconds",
                settings.health_loop_delay_seconds,
                f"the event loop is {late:.2f} s late",
            ),
            stated(
                "capacity",
                "ok" if services.capacity.room else "degraded",
                "all places for speakers are taken",
            ),
            stated(
                "limits",
                "degraded" if level else "ok",
                f"limits of the lower tiers are lowered by {level} of {len(LEVELS) - 1}",
            ),
        ]

    async def machine() -> Iterable[Check]:
        return machine_checks(services.machine.latest, services.machine.age, settings)

    async def breakers() -> Iterable[Check]:
        return [breaker_check(*breaker) for breaker in services.breaker_states().items()]

    return {
        "lifecycle": lifecycle,
        "store": store,
        "models": models,
        "workers": workers,
        "load": load,
        "machine": machine,
        "breakers": breakers,
    }


async def store_check(
    name: str, ping: Callable[[], Awaitable[None]], thresholds: Thresholds
) -> Check:
    """How long the store takes to answer."""
    began = time.monotonic()
    try:
        await ping()
    except StoreUnavailable:
        return stated(name, "critical", f"{name} does not answer")
    seconds = time.monotonic() - began
    reason = f"{name} takes {seconds:.2f} s to answer"
    return measured(name, seconds, "seconds", thresholds, reason)


def model_check(probe: Probe, vital: Vital, thresholds: Thresholds) -> Check:
    """Whether a model answers, and how long that takes."""
    name = f"model:{probe.name}"
    if vital.failed is not None:
        return stated(name, "critical" if probe.needed else "degraded", vital.reason)
    if vital.seconds is None:  # others keep asking it
        return stated(name, "ok", "")
    reason = f"{probe.name} takes {vital.seconds:.1f} s to answer"
    return measured(name, vital.seconds, "seconds", thresholds, reason)


def worker_checks(staff: Mapping[str, Staff]) -> list[Check]:
    """Whether the workers of each model are there."""
    return [stated(f"workers:{name}", *_staffed(name, each)) for name, each in staff.items()]


def _staffed(name: str, staff: Staff) -> tuple[State, str]:
    missing: State = "critical" if name in NEEDED else "degraded"
    if staff.exhausted:
        return missing, f"{staff.abandoned} calls of {name} hang: the server has to be restarted"
    if not staff.working:
        return missing, f"no worker of {name} is there"
    if staff.working < staff.wanted:
        return "degraded", f"{staff.working} of {staff.wanted} workers of {name} are there"
    if staff.abandoned:
        return "degraded", f"{staff.abandoned} calls of {name} hang"
    return "ok", ""


def machine_checks(machine: Machine, age: float, settings: Settings) -> list[Check]:
    """How full the machine is."""
    checks = [
        _full("cpu", machine.cpu_minute_percent, settings.health_cpu_percent, "processors are"),
        _full("memory", machine.memory_used_percent, settings.health_memory_percent, "memory is"),
        _full(
            "disk",
            machine.disk_used_percent,
            settings.health_disk_percent,
            "the disk of the data directory is",
        ),
        stated(
            "machine",
            "degraded" if age > _STALE else "ok",
            f"the machine was not to be read for {age:.0f} s",
        ),
    ]
    if machine.gpu_memory_used_percent:
        fullest = max(machine.gpu_memory_used_percent)
        thresholds = settings.health_gpu_memory_percent
        checks.append(_full("gpu_memory", fullest, thresholds, "memory of a GPU is"))
    return checks


def _full(name: str, percent: float, thresholds: Thresholds, what: str) -> Check:
    return measured(name, percent, "percent", thresholds, f"{what} {percent:.0f} % in use")


def breaker_check(name: str, state: str) -> Check:
    """Whether calls go through: ``closed``, ``open`` or ``half_open``."""
    reason = f"calls of {name} are cut off ({state})"
    return stated(f"breaker:{name}", "ok" if state == "closed" else "degraded", reason)
