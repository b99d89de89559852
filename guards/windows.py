"""Sliding windows: how often something may happen, as a pure policy and a home in memory.

A window is two counters, of the current and the previous period; the previous one counts for the
share of it that still lies within the window. That takes a few bytes whatever the limit, and is
exact while a key starts afresh. Several windows are asked at once, and count only if all of them
admit: a request that the day refuses does not use up the minute.

``guards/redis/windows.lua`` is the same arithmetic; one contract suite holds the two together.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

_SWEEP_EVERY: Final = 4096
"""Calls of the memory home after which it looks for what can be forgotten."""
_CAPACITY: Final = 100_000


@dataclass(frozen=True, slots=True)
class Window:
    """At most ``limit`` in any ``seconds``. ``name`` tells the windows of a subject apart."""

    name: str
    limit: int
    seconds: int


@dataclass(frozen=True, slots=True)
class Count:
    """What was counted in a period, numbered from the epoch of the clock, and in the one before."""

    period: int
    current: int = 0
    previous: int = 0

    def at(self, period: int) -> Count:
        """The same as seen in another period.

        When the clock went back (``period`` is smaller), everything counted still counts, so that
        nobody gains by it; and it ages from there, so that nobody is locked out until the clock
        is where it was.
        """
        if period == self.period + 1:
            return Count(period, 0, self.current)
        if period > self.period:
            return Count(period)
        return Count(period, self.current, self.previous)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a subject stands in one window, after what was asked was counted or refused."""

    window: Window
    used: float
    reset: float
    """Seconds until the current period ends."""
    retry_after: float
    """Seconds until as much again would be admitted; 0 if it would be now."""

    @property
    def remaining(self) -> int:
        return max(0, math.floor(self.window.limit - self.used))


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether something may happen, and how each window stands."""

    admitted: bool
    standings: tuple[Standing, ...]

    @property
    def tightest(self) -> Standing:
        """The window that refused for longest, or that has the smallest share left."""
        return max(self.standings, key=_tightness)


def _tightness(standing: Standing) -> tuple[float, float]:
    return standing.retry_after, -standing.remaining / max(1, standing.window.limit)


class Windows(Protocol):
    """Where windows are counted. Held to one contract suite."""

    async def admit(self, subject: str, windows: Sequence[Window], cost: int = 1) -> Decision:
        """Count ``cost`` in all windows, or in none when one of them has no room.

        Raises ``StoreUnavailable``.
        """
        ...

    async def clear(self, subject: str) -> None:
        """Forget what a subject used."""
        ...


def used(count: Count, into: float, seconds: float) -> float:
    """What counts ``into`` seconds of the current period."""
    return count.current + count.previous * (seconds - into) / seconds


def wait(count: Count, into: float, window: Window, cost: int) -> float:
    """Seconds until ``cost`` more fits; infinite when it never does."""
    room = window.limit - cost
    if room < 0:
        return math.inf
    if used(count, into, window.seconds) <= room:
        return 0.0
    if count.current <= room:
        # Enough of the previous period will have left the window before this one ends.
        return window.seconds * (1 - (room - count.current) / count.previous) - into
    return window.seconds - into + window.seconds * (1 - room / count.current)


def standing(count: Count, into: float, window: Window, cost: int) -> Standing:
    """Where a count stands in its window."""
    return Standing(
        window=window,
        used=used(count, into, window.seconds),
        reset=window.seconds - into,
        retry_after=wait(count, into, window, cost),
    )


class MemoryWindows:
    """:class:`Windows` of one process. ``clock`` gives seconds and never runs backwards.

    Bounded: of more than ``capacity`` subjects the one that was longest away is forgotten.
    """

    def __init__(
        self, *, capacity: int = _CAPACITY, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._capacity = capacity
        self._clock = clock
        self._counts: OrderedDict[str, dict[str, tuple[Count, int]]] = OrderedDict()
        self._calls = 0

    def __len__(self) -> int:
        return len(self._counts)

    async def admit(self, subject: str, windows: Sequence[Window], cost: int = 1) -> Decision:
        now = self._clock()
        held = self._counts.setdefault(subject, {})
        self._counts.move_to_end(subject)
        if len(self._counts) > self._capacity:
            self._counts.popitem(last=False)
        seen: list[tuple[Window, Count, float]] = []
        for window in windows:
            period, into = divmod(now, window.seconds)
            known = held.get(window.name)
            count = Count(int(period)) if known is None else known[0].at(int(period))
            seen.append((window, count, into))
        admitted = all(
            used(count, into, window.seconds) + cost <= window.limit for window, count, into in seen
        )
        standings = []
        for window, found, into in seen:
            count = found
            if admitted:
                count = Count(found.period, found.current + cost, found.previous)
            held[window.name] = (count, window.seconds)
            standings.append(standing(count, into, window, cost))
        self._calls += 1
        if self._calls % _SWEEP_EVERY == 0:
            self._sweep(now)
        return Decision(admitted, tuple(standings))

    async def clear(self, subject: str) -> None:
        self._counts.pop(subject, None)

    def _sweep(self, now: float) -> None:
        """Forget the subjects of which nothing counts any more."""
        for subject, held in list(self._counts.items()):
            if all(now // seconds > count.period + 1 for count, seconds in held.values()):
                del self._counts[subject]
