"""A circuit breaker: calls to a service that is down fail at once, until it answers again.

Closed, calls go through, and ``failures`` of them in a row open it. Open, calls are refused for
``recovery`` seconds. Then it is half open: one call goes through as a trial, and decides. Without
I/O: its clock is given to it. Event loop (or one thread) only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

Exceptions = tuple[type[BaseException], ...]


class BreakerState(StrEnum):
    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerOpen(Exception):
    """The call was not made. ``retry_after``: seconds until one may be. Adapters translate it."""

    def __init__(self, name: str, retry_after: float) -> None:
        super().__init__(f"{name} is taken to be down")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a breaker opens (``failures`` in a row, 1 or more) and how long, in seconds."""

    failures: int = 5
    recovery: float = 10.0


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """A breaker as it is now."""

    name: str
    state: BreakerState
    failures: int
    """In a row, up to now; what opened it, while it is not closed."""
    age: float
    """Seconds it has been in this state."""
    retry_after: float | None
    """Seconds until a call may be tried; None unless open."""
    opened: int
    """Times it opened since the start."""
    refused: int
    """Calls it refused since the start."""


def _ignore(_breaker: CircuitBreaker) -> None:
    """Nobody wants to know."""


class CircuitBreaker:
    """The breaker of one service. ``clock`` gives monotonic seconds; ``changed`` is told of each
    change of state.

    What a call came to counts only in the state it began in: an answer that is late proves nothing.
    """

    def __init__(
        self,
        name: str,
        policy: BreakerPolicy,
        *,
        clock: Callable[[], float],
        changed: Callable[[CircuitBreaker], None] = _ignore,
    ) -> None:
        self.name = name
        self.policy = policy
        self._clock = clock
        self._changed = changed
        self._state = BreakerState.CLOSED
        self._since = clock()
        self._retry_at = 0.0
        self._failures = self._opened = self._refused = 0
        self._era = 0
        """Counts changes of state: which one a call began in."""

    @property
    def state(self) -> BreakerState:
        return self._state

    @property
    def available(self) -> bool:
        """Whether a call would go through now."""
        if self._state is BreakerState.OPEN:
            return self._clock() >= self._retry_at
        return self._state is BreakerState.CLOSED

    @property
    def status(self) -> BreakerStatus:
        now = self._clock()
        is_open = self._state is BreakerState.OPEN
        return BreakerStatus(
            name=self.name,
            state=self._state,
            failures=self._failures,
            age=max(0.0, now - self._since),
            retry_after=max(0.0, self._retry_at - now) if is_open else None,
            opened=self._opened,
            refused=self._refused,
        )

    @contextmanager
    def attempt(
        self, *, failures: Exceptions = (Exception,), neither: Exceptions = ()
    ) -> Iterator[None]:
        """Make one call in the block. Raises :class:`BreakerOpen` instead when it may not be made.

        What of its errors are ``failures`` counts against the service; another ``Exception`` is
        an answer like any other. ``neither``, and a call that was cancelled, tell nothing.
        """
        era = self._admit()
        try:
            yield
        except BaseException as error:
            if isinstance(error, neither):
                self._abandon(era)
            elif isinstance(error, failures):
                self._fail(era)
            elif isinstance(error, Exception):
                self._succeed(era)
            else:
                self._abandon(era)
            raise
        else:
            self._succeed(era)

    def reset(self) -> None:
        """Close it, whatever was."""
        self._failures = 0
        self._enter(BreakerState.CLOSED)

    # ------------------------------------------------------------ inside

    def _admit(self) -> int:
        if not self.available:
            self._refused += 1
            # A trial that is under way will tell soon.
            raise BreakerOpen(self.name, max(0.0, self._retry_at - self._clock()))
        if self._state is BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN)
        return self._era

    def _succeed(self, era: int) -> None:
        if era == self._era:
            self.reset()

    def _fail(self, era: int) -> None:
        if era != self._era:
            return
        self._failures += 1
        trial = self._state is BreakerState.HALF_OPEN
        if trial or self._failures >= self.policy.failures:
            self._opened += not trial
            self._retry_at = self._clock() + self.policy.recovery
            self._enter(BreakerState.OPEN)

    def _abandon(self, era: int) -> None:
        """Nobody waited for the trial's end: the next call is another."""
        if era == self._era and self._state is BreakerState.HALF_OPEN:
            self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        if state is not self._state:
            self._state = state
            self._since = self._clock()
            self._era += 1
            self._changed(self)
