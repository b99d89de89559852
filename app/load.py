"""How much the server has to do, measured for the limits that shrink with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Final

import structlog

from app.looplag import LoopLag
from app.machine import Machine
from guards.adaptive import Load, LoadPolicy
from inference.dispatcher import DispatcherStats

log = structlog.get_logger(__name__)

_EVERY_SECONDS: Final = 1.0
_RECENT_WAITS: Final = 16


async def watch_load(
    policy: LoadPolicy,
    stats: Callable[[], Mapping[str, DispatcherStats]],
    machine: Callable[[], Machine],
    lag: LoopLag,
) -> None:
    """Measure every second, for ever, and tell the policy."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        latest = machine()
        gpus = latest.gpu_memory_used_percent
        load = Load(
            queue_wait=queue_wait(stats().values()),
            loop_delay=lag.worst(_EVERY_SECONDS),
            cpu=latest.cpu_percent / 100,
            gpu_memory=max(gpus) / 100 if gpus else None,
        )
        before_level = policy.level
        level = policy.update(load, clock())
        if level != before_level:
            log.warning("limits adapt to the load", level=level, was=before_level, load=load)


def queue_wait(stats: Iterable[DispatcherStats]) -> float:
    """Seconds that jobs wait at present: where some are queued, as the last ones did; at most."""
    return max(
        (
            median(each.waits[-_RECENT_WAITS:])
            for each in stats
            if each.waits and any(each.queued.values())
        ),
        default=0.0,
    )
