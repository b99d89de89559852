"""How often an open utterance is recognised again, by how late everything is.

Every session does this for itself. Where more is asked than can be done, answers wait, so every
session asks less often, until what is asked is what can be done: partials become rarer for
everyone, and finals, which go first, hardly notice. Where one speaker's partials alone take longer
than they are apart, no answer waits, but the sound does: it is listened to late, and so is the
pause that ends a sentence. Then, too, partials become rarer. On a server that keeps up nothing is
late, and partials come at fixed places in the audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_UNNOTICED: Final = 0.1
"""Seconds of waiting that change nothing: a worker is rarely free at once."""
_GAIN: Final = 4.0
"""Seconds by which partials are further apart for each second of either."""
_LONGEST_MS: Final = 10_000
_UP, _DOWN = 0.5, 0.2
"""How much of a longer wait is believed at once, and of a shorter one."""
_DEGRADED, _RECOVERED = 2.5, 1.5
"""By how much rarer partials are when a client is told, and when it is told that it is over."""


@dataclass(slots=True)
class Pace:
    """The time between partials of one session."""

    partial_ms: int
    """Between them when nothing waits."""
    wait: float = 0.0
    """Seconds that answers wait now, smoothed."""
    late: float = 0.0
    """Seconds by which a live speaker's sound is listened to late now for partials, smoothed."""
    degraded: bool = False
    """Whether partials are much rarer than they would be."""

    @property
    def interval_ms(self) -> float:
        """Audio between two partials, in milliseconds."""
        excess = max(0.0, self.wait - _UNNOTICED) + max(0.0, self.late - _UNNOTICED)
        return min(self.partial_ms + 1000 * _GAIN * excess, _LONGEST_MS)

    def take(self, waited: float, lag: float = 0.0) -> bool:
        """Note for how long an answer waited, and how late sound is listened to that waited for it.

        Says whether ``degraded`` has changed.
        """
        self.wait = _followed(self.wait, waited)
        self.late = _followed(self.late, lag)
        before = self.degraded
        threshold = _RECOVERED if before else _DEGRADED
        self.degraded = self.interval_ms >= threshold * self.partial_ms
        return self.degraded != before


def _followed(believed: float, seen: float) -> float:
    return believed + (_UP if seen > believed else _DOWN) * (seen - believed)
