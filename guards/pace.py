"""How fast the messages of one stream are read. Pure: time is an argument."""

from __future__ import annotations

from typing import Final

_BURST_SECONDS: Final = 2.0


class Pace:
    """A token bucket that never refuses, but says how long to wait.

    ``rate`` is messages a second; as many as come in two seconds may come at once.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._burst = rate * _BURST_SECONDS
        self._left = self._burst
        self._at: float | None = None

    def delay(self, now: float) -> float:
        """Count a message; seconds to wait before it is taken, mostly 0."""
        if self._at is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._at) * self.rate)
        self._at = now
        self._left -= 1
        return max(0.0, -self._left / self.rate)
