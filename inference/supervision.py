"""When a call of a model has hung, when memory has run out, and what then.

Pure policy: time is an argument. :mod:`inference.crew` carries it out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Final

_REMEMBERED: Final = 64
_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 30.0

_NO_MEMORY: Final = (
    "out of memory",
    "std::bad_alloc",
    "bad allocation",
    "failed to allocate",
    "cannot allocate memory",
    "alloc_failed",
)
"""What CTranslate2, CUDA, cuBLAS and onnxruntime say, each in its own words."""


class Fault(Enum):
    """Why a replica is replaced."""

    HUNG = "hung"
    """A call that never came back: its thread and what it uses are given up."""
    DIED = "died"
    """A thread that ended by itself. What it used is as good as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervision:
    """How long calls may take, in seconds, and how many may be given up.

    A call has hung when it took longer than ``factor`` times the slowest of late, but no less than
    ``shortest``, and in any case when it took longer than ``longest``.
    """

    longest: float = 60.0
    shortest: float = 10.0
    factor: float = 10.0
    loading: float = 600.0
    """How long a new replica may take to load."""
    most_abandoned: int = 3
    """Threads that may hang before only a restart of the process helps."""
    lowered: float = 60.0
    """For how long batches are smaller after memory ran out."""


@dataclass(frozen=True, slots=True)
class Staff:
    """The workers of one model: counters since the start, and what they are now."""

    wanted: int = 1
    working: int = 1
    """Workers that take jobs. The others are being replaced."""
    restarts: int = 0
    """Replicas that took another's place, or were loaded anew."""
    hung: int = 0
    """Calls that were given up."""
    retried: int = 0
    """Jobs that were done again because their worker was lost."""
    out_of_memory: int = 0
    abandoned: int = 0
    """Threads that hang at present."""
    exhausted: bool = False
    """Whether so many hang that only a restart of the process helps."""


class Allowance:
    """How long a call may take, from how long others took."""

    def __init__(self, policy: Supervision) -> None:
        self._policy = policy
        self._took: deque[float] = deque(maxlen=_REMEMBERED)

    def note(self, seconds: float) -> None:
        """Take how long a call took that came back."""
        self._took.append(seconds)

    @property
    def seconds(self) -> float:
        """The bound. Before any call came back it is the longest there is: the first is slow."""
        policy = self._policy
        if not self._took:
            return policy.longest
        return min(policy.longest, max(policy.shortest, policy.factor * max(self._took)))


class WatchedTime:
    """Time that passed while somebody watched.

    A process that was stopped, or a machine that slept, did nothing meanwhile; that is no reason
    to believe that its calls hang. So no look takes in more than twice the ``interval`` in which
    one looks.
    """

    def __init__(self, interval: float) -> None:
        self._most = 2 * interval
        self._last: float | None = None
        self.seconds = 0.0

    def look(self, now: float) -> float:
        """Take a look; return how much time was watched in all."""
        if self._last is not None:
            self.seconds += min(self._most, max(0.0, now - self._last))
        self._last = now
        return self.seconds


class BatchLimit:
    """Rows a batch may have: fewer for a while after memory ran out."""

    def __init__(self, policy: Supervision) -> None:
        self._lowered = policy.lowered
        self._most = 1
        self._until = float("-inf")

    def ran_out(self, rows: int, now: float) -> None:
        """Take that memory did not suffice for so many rows."""
        half = max(1, rows // 2)
        self._most = min(self._most, half) if now < self._until else half
        self._until = now + self._lowered

    def of(self, most: int, now: float) -> int:
        """How many rows are tried where ``most`` would be worth it."""
        return min(most, self._most) if now < self._until else most


def backoff(failures: int) -> float:
    """Seconds to wait before a replica is made once more; none after the first failure."""
    if failures <= 1:
        return 0.0
    return float(min(_LONGEST_BACKOFF, _BACKOFF * 2 ** min(failures - 2, 16)))


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on the CPU or a GPU."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError | OSError) and any(mark in text for mark in _NO_MEMORY)
