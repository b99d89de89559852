"""How late a live speaker's audio is listened to."""

from __future__ import annotations

from collections import deque
from typing import Final

from streaming.types import SAMPLE_RATE

_AHEAD: Final = 2.0
"""Seconds of audio by which a live speaker may be ahead of the clock: the network's hiccups. Who
sends faster than that has no delay to complain of."""


class Lag:
    """The lag of one session. Times are in seconds."""

    __slots__ = ("_arrived", "_began")

    def __init__(self) -> None:
        self._began: float | None = None
        self._arrived: deque[tuple[float, float]] = deque()
        """When audio came that was not yet listened to, and how much had come by then."""

    def note(self, now: float, samples: int, behind: float) -> float:
        """Take that ``samples`` at 16 kHz have come in all, ``behind`` seconds of which wait.

        Returns how many seconds late a live speaker is listened to; 0 for who sends faster.
        """
        heard = samples / SAMPLE_RATE
        done = heard - behind
        if self._began is None:
            self._began = now - heard
        self._arrived.append((now, heard))
        while self._arrived and self._arrived[0][1] <= done:
            self._arrived.popleft()
        live = heard <= now - self._began + _AHEAD
        return now - self._arrived[0][0] if live and self._arrived else 0.0
