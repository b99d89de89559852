"""How often an open utterance is recognised again, by how long the recogniser's answers wait.

Every session does this for itself. Where more is asked than can be done, answers wait, so every
session asks less often, until what is asked is what can be done: partials become rarer for
everyone, and finals, which go first, hardly notice. On a server that keeps up nothing waits, and
partials come at fixed places in the audio.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_UNNOTICED: Final = 0.1
"""Seconds of waiting that change nothing: a worker is rarely free at once."""
_GAIN: Final = 4.0
"""Seconds by which partials are further apart for each second their answers wait."""
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
    degraded: bool = False
    """Whether partials are much rarer than they would be."""

    @property
    def interval_ms(self) -> float:
        """Audio between two partials, in milliseconds."""
        late = max(0.0, self.wait - _UNNOTICED)
        return min(self.partial_ms + 1000 * _GAIN * late, _LONGEST_MS)

    def take(self, waited: float) -> bool:
        """Note for how long an answer waited; say whether ``degraded`` has changed."""
        part = _UP if waited > self.wait else _DOWN
        self.wait += part * (waited - self.wait)
        before = self.degraded
        threshold = _RECOVERED if before else _DEGRADED
        self.degraded = self.interval_ms >= threshold * self.partial_ms
        return self.degraded != before
