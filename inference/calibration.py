"""How many rows a batch should have, and how workers and threads are best arranged: measured.

On a CPU the encoder takes as long for two rows as for one twice, and only the decoder gains from
company; on a GPU company is nearly free. What is best on a machine is measured, not assumed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

BATCHES: Final = (1, 2, 4, 8, 16, 32)
_LONGEST: Final = 0.8
"""Seconds a batch may take: whoever comes just after it began waits for it."""
_WORTH: Final = 1.08
"""By how much faster a larger batch must be, for each row, to be worth its waiting."""

Work = Callable[[int], None]
"""Runs one batch of so many typical rows. Blocking."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one arrangement does. ``batch`` rows at a time, ``workers`` side by side."""

    workers: int
    threads: int
    batch: int
    rows_per_second: float
    seconds: float
    """How long a batch takes, the median."""


def timed(work: Work, size: int) -> float:
    """Seconds that a batch takes at best, after one that warms up. Blocking."""
    work(size)
    best = float("inf")
    for _ in range(2):
        began = time.monotonic()
        work(size)
        best = min(best, time.monotonic() - began)
    return best


def best_batch(work: Work, alone: float, batches: Sequence[int] = BATCHES) -> int:
    """The largest batch that is worth it, for one worker. Blocking, some seconds at most.

    ``alone`` is how long one row takes.
    """
    best, each = 1, alone
    for size in batches[1:]:
        seconds = timed(work, size)
        if seconds > _LONGEST or seconds / size * _WORTH > each:
            break
        best, each = size, seconds / size
    return best


def throughput(work: Work, *, workers: int, threads: int, batch: int, seconds: float) -> Measured:
    """Run batches on so many threads of ours for some seconds. Blocking."""
    work(batch)
    took: list[float] = []
    end = time.monotonic() + seconds

    def loop() -> None:
        while (began := time.monotonic()) < end:
            work(batch)
            took.append(time.monotonic() - began)

    began = time.monotonic()
    running = [threading.Thread(target=loop, daemon=True) for _ in range(workers)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    passed = time.monotonic() - began
    middle = sorted(took)[len(took) // 2]
    return Measured(workers, threads, batch, len(took) * batch / passed, middle)


def arrangements(cores: int) -> list[tuple[int, int]]:
    """Ways to spread a model over cores, as (workers, threads of each)."""
    return [(workers, cores // workers) for workers in range(1, cores + 1) if cores % workers == 0]


def recommended(measured: Iterable[Measured]) -> Measured:
    """The arrangement with the most rows a second of those whose batches are short enough."""
    every = list(measured)
    quick = [one for one in every if one.seconds <= _LONGEST]
    return max(quick or every, key=lambda one: one.rows_per_second)
