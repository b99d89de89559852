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
    loop_delay: float = 0.25
    cpu: float = 0.98
    gpu_memory: float = 0.97
    calm: float = 0.7
    """Share of what is too much that is clearly less."""
    rise_seconds: float = 5.0
    full_seconds: float = 60.0
    """Before something is done about processors or memory that are full while nobody waits."""
    fall_seconds: float = 30.0


class LoadPolicy:
    """The level, from one measurement to the next."""

    def __init__(self, config: LoadConfig | None = None) -> None:
        self.config = config or LoadConfig()
        self.level = 0
        self.latest = Load()
        """The last measurement."""
        self._patience = 0.0
        self._since: float | None = None
        """When it began to be too much, or calm enough, for another level."""

    def update(self, load: Load, now: float) -> int:
        """Take a measurement; the level as it is then. ``now`` is in seconds, and never less."""
        self.latest = load
        config = self.config
        felt = max(load.queue_wait / config.queue_wait, load.loop_delay / config.loop_delay)
        full = max(load.cpu / config.cpu, (load.gpu_memory or 0.0) / config.gpu_memory)
        if felt >= 1 and self.level < len(LEVELS) - 1:
            self._toward(self.level + 1, config.rise_seconds, now)
        elif full >= 1 and self.level == 0:
            # Full processors alone are no reason to turn many away: decoding fills them.
            self._toward(1, config.full_seconds, now)
        elif max(felt, full) < config.calm and self.level > 0:
            self._toward(self.level - 1, config.fall_seconds, now)
        else:
            self._since = None
        return self.level

    def _toward(self, level: int, patience: float, now: float) -> None:
        if self._since is None or self._patience != patience:
            self._since, self._patience = now, patience
        if now - self._since >= patience:
            self.level = level
            self._since = now


def shrink(limits: Limits, tier: Tier, level: int) -> Limits:
    """What is left of a key's limits at a level. Quotas stay: they are what was paid for."""
    factor = LEVELS[level].get(tier, 1.0)
    if factor == 1:
        return limits
    return replace(limits, **{name: math.ceil(getattr(limits, name) * factor) for name in _SHRUNK})
