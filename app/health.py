"""How the server is, sampled beside the requests that ask."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

_MIB: Final = 1024 * 1024
SAMPLE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Machine:
    """CPU in percent of all cores, memory and disk in MiB."""

    cpu_percent: float
    cpu_count: int
    memory_used_percent: float
    memory_available_mib: int
    process_mib: int
    disk_used_percent: float
    disk_free_mib: int


class MachineSampler:
    """Reads the machine every few seconds, in a thread; ``latest`` answers at once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._process = psutil.Process()
        self.latest = self._sample()

    async def run(self) -> None:
        """Sample for ever."""
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            self.latest = await asyncio.to_thread(self._sample)

    def _sample(self) -> Machine:
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(_existing(self._directory)))
        return Machine(
            cpu_percent=psutil.cpu_percent(interval=None),
            cpu_count=os.cpu_count() or 1,
            memory_used_percent=memory.percent,
            memory_available_mib=memory.available // _MIB,
            process_mib=self._process.memory_info().rss // _MIB,
            disk_used_percent=disk.percent,
            disk_free_mib=disk.free // _MIB,
        )


def _existing(path: Path) -> Path:
    """The nearest directory that is there."""
    return next(parent for parent in (path, *path.parents) if parent.exists())
