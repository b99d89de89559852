"""How the machine is, sampled beside the requests that ask."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from app.cgroup import CpuLimit, cpu_limit, memory_limit
from app.gpu import GpuMemory, gpu_memory

_MIB: Final = 1024 * 1024
SAMPLE_SECONDS: Final = 5.0
_MINUTE: Final = 12  # samples


@dataclass(frozen=True, slots=True)
class Machine:
    """CPU in percent of all cores, memory and disk in MiB.

    Where a container's limits are tighter than the machine, they are what is meant.
    """

    cpu_percent: float
    cpu_minute_percent: float
    """The mean of the last minute; before the start it was idle: loading models is no load."""
    cpu_count: int
    memory_used_percent: float
    memory_available_mib: int
    memory_limit_mib: int | None
    """Of the container, where it has one."""
    process_mib: int
    disk_used_percent: float
    disk_free_mib: int
    gpu_memory_used_percent: tuple[float, ...]
    """Of each GPU."""


class MachineSampler:
    """Reads the machine every few seconds, in a thread; ``latest`` answers at once."""

    def __init__(self, directory: Path, gpus: GpuMemory | None = None) -> None:
        self._directory = directory
        self._process = psutil.Process()
        self._gpus = gpus or gpu_memory()
        self._cpu: deque[float] = deque(maxlen=_MINUTE)
        self._group_cpu: tuple[float, CpuLimit] | None = None
        self.latest = self._sample()
        self._read_at = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since it was read. Much more than usual: something in it hangs."""
        return time.monotonic() - self._read_at

    async def run(self) -> None:
        """Sample for ever."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.latest = await asyncio.to_thread(self._sample)
            self._read_at = time.monotonic()

    def _sample(self) -> Machine:
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(_existing(self._directory)))
        limit = memory_limit()
        used, available = memory.percent, memory.available
        if limit is not None:
            used = max(used, limit.percent)
            available = min(available, max(0, limit.limit - limit.used))
        cpu = max(psutil.cpu_percent(interval=None), self._group_percent())
        self._cpu.append(cpu)
        return Machine(
            cpu_percent=cpu,
            cpu_minute_percent=sum(self._cpu) / _MINUTE,
            cpu_count=os.cpu_count() or 1,
            memory_used_percent=used,
            memory_available_mib=available // _MIB,
            memory_limit_mib=None if limit is None else limit.limit // _MIB,
            process_mib=self._process.memory_info().rss // _MIB,
            disk_used_percent=disk.percent,
            disk_free_mib=disk.free // _MIB,
            gpu_memory_used_percent=self._gpus(),
        )

    def _group_percent(self) -> float:
        """Percent of the processors that the container may use, since the last sample."""
        now, before = (time.monotonic(), cpu_limit()), self._group_cpu
        self._group_cpu = None if now[1] is None else (now[0], now[1])
        if before is None or now[1] is None or now[0] <= before[0]:
            return 0.0
        seconds = now[1].used - before[1].used
        return min(100.0, 100 * seconds / (now[0] - before[0]) / now[1].cores)


def _existing(path: Path) -> Path:
    """The nearest directory that is there."""
    return next(parent for parent in (path, *path.parents) if parent.exists())
