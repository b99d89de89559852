"""How late the event loop is: what every connection feels when something blocks it."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from itertools import islice
from statistics import median
from typing import Final

TICK_SECONDS: Final = 0.05
_WINDOW: Final = 600
"""Ticks remembered: half a minute."""
_NOW: Final = 20
"""Ticks that tell what is usual now: a second, or longer where they are late."""
_PRESSED: Final = 0.05
"""Seconds by which it is usually late when it has more to do than it can. Newcomers are refused for
it later (:mod:`app.capacity`)."""
_CALM: Final = 600
"""Ticks without that until that is believed to be over: what was spared would press again."""


class LoopLag:
    """Measures by how much a task wakes later than it asked for. ``clock`` is the loop's."""

    def __init__(self) -> None:
        self.observe: Callable[[float], None] = lambda _late: None
        """Is told of each measurement, in seconds."""
        self.usual = 0.0
        """By how much the last ticks were late, at the median: one pause is nothing, nor is what
        a start holds up.
        """
        self._late: deque[float] = deque(maxlen=_WINDOW)
        self._calm = _CALM
        """Ticks since it was pressed."""

    async def run(self, clock: Callable[[], float] | None = None) -> None:
        """Measure for ever."""
        clock = clock or asyncio.get_running_loop().time
        while True:
            before = clock()
            await asyncio.sleep(TICK_SECONDS)
            self.note(clock() - before - TICK_SECONDS)

    def note(self, late: float) -> None:
        """Take one measurement, in seconds."""
        late = max(0.0, late)
        self._late.append(late)
        last = list(islice(reversed(self._late), _NOW))
        self.usual = median(last + [0.0] * (_NOW - len(last)))
        self._calm = 0 if self.usual >= _PRESSED else self._calm + 1
        self.observe(late)

    @property
    def pressed(self) -> bool:
        """Whether it has more to do than it can, or had half a minute ago. Cheap."""
        return self._calm < _CALM

    def quantile(self, q: float) -> float:
        """A quantile (0…1) over the last half a minute, by nearest rank; 0 before any tick."""
        if not self._late:
            return 0.0
        ranked = sorted(self._late)
        return ranked[max(0, math.ceil(q * len(ranked)) - 1)]

    def worst(self, seconds: float) -> float:
        """The latest wake-up of the last seconds."""
        ticks = max(1, round(seconds / TICK_SECONDS))
        return max(list(self._late)[-ticks:], default=0.0)
