"""A clock that goes when the test says so."""

from __future__ import annotations


class Clock:
    """Seconds. Where a test looks at days, one of them has just begun."""

    def __init__(self, now: float = 1_000_000 * 86_400.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
