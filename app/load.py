"""How much the server has to do, measured for the limits that shrink with it."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from statistics import median
from typing import Final

import structlog

from app.health import Machine
from app.looplag import LoopLag
from guards.adaptive import Load, LoadPolicy
from inference.dispatcher import DispatcherStats

log = structlog.get_logger(__name__)

_EVERY_SECONDS: Final = 1.0
_RECENT_WAITS: Final = 16
_GPU_EVERY: Final = 10
"""Measurements after which the GPUs are asked again: a process is started for it."""
_GPU_QUERY: Final = ("--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits")


async def watch_load(
    policy: LoadPolicy,
    stats: Callable[[], Mapping[str, DispatcherStats]],
    machine: Callable[[], Machine],
    lag: LoopLag,
) -> None:
    """Measure every second, for ever, and tell the policy."""
    clock = asyncio.get_running_loop().time
    nvidia_smi = shutil.which("nvidia-smi")
    gpu_memory: float | None = None
    measured = 0
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        if nvidia_smi is not None and measured % _GPU_EVERY == 0:
            gpu_memory = await fullest_gpu(nvidia_smi)
        measured += 1
        load = Load(
            queue_wait=queue_wait(stats().values()),
            loop_delay=lag.worst(_EVERY_SECONDS),
            cpu=machine().cpu_percent / 100,
            gpu_memory=gpu_memory,
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


async def fullest_gpu(nvidia_smi: str) -> float | None:
    """Share of memory in use on the fullest GPU, says the driver's own tool; None without one."""
    with contextlib.suppress(OSError, ValueError):
        process = await asyncio.create_subprocess_exec(
            nvidia_smi,
            *_GPU_QUERY,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        rows = [line.split(",") for line in output.decode().splitlines() if line.strip()]
        if process.returncode == 0 and rows:
            return max(float(used) / float(total) for used, total in rows)
    return None
