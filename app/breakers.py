"""The circuit breakers of this process: one for each service that calls leave it for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Self

import structlog

from app.setting_types import breaker_policy
from app.settings import Settings
from streaming.breaker import BreakerPolicy, BreakerState, BreakerStatus, CircuitBreaker

log = structlog.get_logger(__name__)


class Breakers:
    """Makes breakers with the policies of the settings, and knows those it made.

    ``special`` are the policies of services, by name. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        usual: BreakerPolicy | None = None,
        special: Iterable[tuple[str, BreakerPolicy]] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._usual = usual or BreakerPolicy()
        self._special = dict(special)
        self._clock = clock
        self._made: dict[str, CircuitBreaker] = {}

    @classmethod
    def of(cls, settings: Settings) -> Self:
        usual = BreakerPolicy(
            failures=settings.breaker_failures, recovery=settings.breaker_recovery_seconds
        )
        return cls(usual, map(breaker_policy, settings.breakers))

    def __iter__(self) -> Iterator[CircuitBreaker]:
        return iter([self._made[name] for name in sorted(self._made)])

    def breaker(self, name: str) -> CircuitBreaker:
        """The one breaker of this name."""
        if name not in self._made:
            policy = self._special.get(name, self._usual)
            self._made[name] = CircuitBreaker(name, policy, clock=self._clock, changed=_tell)
        return self._made[name]

    @property
    def states(self) -> list[BreakerStatus]:
        """All as they are now, by name."""
        return [breaker.status for breaker in self]

    def reset(self, name: str | None = None) -> list[str]:
        """Close one, or all; the names of those that were not closed. Raises ``KeyError``."""
        chosen = list(self) if name is None else [self._made[name]]
        stuck = [one.name for one in chosen if one.state is not BreakerState.CLOSED]
        for breaker in chosen:
            breaker.reset()
        return stuck


def _tell(breaker: CircuitBreaker) -> None:
    status = breaker.status
    level = "info" if status.state is BreakerState.HALF_OPEN else "warning"
    getattr(log, level)(
        "circuit breaker", service=status.name, state=status.state, failures=status.failures
    )
