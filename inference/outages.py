"""Outages of the engines that should do a pair, so that each is told once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from inference.routing import Pair

QUIET_SECONDS: Final = 30.0
"""An engine that works has to have done so for so long before another failure is news."""


@dataclass(slots=True)
class _Outage:
    number: int
    failed_at: float
    over: bool = False


class Outages:
    """Numbers outages: those of a pair rise, and no two have the same. ``clock`` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last: dict[Pair, _Outage] = {}
        self.count = 0
        """Since the start."""

    def failed(self, pair: Pair) -> int:
        """The number of the outage that this failure is a part of."""
        now = self._clock()
        known = self._last.get(pair)
        if known is None or (known.over and now - known.failed_at >= QUIET_SECONDS):
            self.count += 1
            known = self._last[pair] = _Outage(self.count, now)
        known.failed_at, known.over = now, False
        return known.number

    def worked(self, pair: Pair) -> None:
        """The engine that should do it did it."""
        known = self._last.get(pair)
        if known is not None:
            known.over = True
