"""Limits that shrink under load, those of the lower tiers first. Pure: time is an argument.

Load is what people feel, and what foretells it: jobs that wait, an event loop that is late,
processors and GPU memory that are full. Each is measured against what it should not exceed; the
worst one counts. A level is gone up after some seconds of too much, and down after many more of
clearly less, so that limits do not swing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from guards.principal import Tier
from guards.tiers import Limits

LEVELS: Final[tuple[Mapping[Tier, float], ...]] = tuple(
    MappingProxyType(level)
    for level in (
        {},
        {Tier.FREE: 0.5},
        {Tier.FREE: 0.2, Tier.BASIC: 0.5},
        {Tier.FREE: 0.0, Tier.BASIC: 0.2, Tier.PRO: 0.5},
    )
)
"""What is left of a tier's limits at each level; all of it where nothing is said."""

_SHRUNK: Final = (
    "requests_per_minute",
    "text_per_minute",
    "speech_per_minute",
    "stream_per_minute",
    "streams",
)


@dataclass(frozen=True, slots=True)
class Load:
    """What was measured at a moment. Seconds, and shares of 1."""

    queue_wait: float = 0.0
    """Of the job that waits longest."""
    loop_delay: float = 0.0
    """By which the event loop is late."""
    cpu: float = 0.0
    gpu_memory: float | None = None


@dataclass(frozen=True, slots=True)
class LoadConfig:
    """What is too much, and how soon something is done about it."""

    queue_wait: float = 2.0
    loop_delay: float = 0.1
    cpu: float = 0.98
    gpu_memory: float = 0.97
    calm: float = 0.7
    """Share of what is too much that is clearly less."""
    rise_seconds: float = 5.0
    fall_seconds: float = 30.0


class LoadPolicy:
    """The level, from one measurement to the next."""

    def __init__(self, config: LoadConfig | None = None) -> None:
        self.config = config or LoadConfig()
        self.level = 0
        self._since: float | None = None
        """When it began to be too much, or calm enough, for another level."""
        self._rising = False

    def update(self, load: Load, now: float) -> int:
        """Take a measurement; the level as it is then. ``now`` is in seconds, and never less."""
        pressure, highest = self._pressure(load)
        if pressure >= 1 and self.level < highest:
            self._toward(rising=True, now=now)
        elif pressure < self.config.calm and self.level > 0:
            self._toward(rising=False, now=now)
        else:
            self._since = None
        return self.level

    def _pressure(self, load: Load) -> tuple[float, int]:
        """How near to too much, and the level up to which that leads.

        Full processors alone are no reason to turn people away: decoding fills them.
        """
        config = self.config
        felt = max(load.queue_wait / config.queue_wait, load.loop_delay / config.loop_delay)
        full = load.cpu / config.cpu
        if load.gpu_memory is not None:
            full = max(full, load.gpu_memory / config.gpu_memory)
        return max(felt, full), len(LEVELS) - 1 if felt >= 1 else 1

    def _toward(self, *, rising: bool, now: float) -> None:
        if self._since is None or self._rising is not rising:
            self._since, self._rising = now, rising
        patience = self.config.rise_seconds if rising else self.config.fall_seconds
        if now - self._since >= patience:
            self.level += 1 if rising else -1
            self._since = now


def shrink(limits: Limits, tier: Tier, level: int) -> Limits:
    """What is left of a key's limits at a level. Quotas stay: they are what was paid for."""
    factor = LEVELS[level].get(tier, 1.0)
    if factor == 1:
        return limits
    return replace(limits, **{name: math.ceil(getattr(limits, name) * factor) for name in _SHRUNK})
