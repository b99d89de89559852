"""What a dispatcher has done and how much is asked of it. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from inference.batching import Schedulable
from inference.supervision import Staff
from streaming.types import Pressure, Priority

_REMEMBERED_WAITS: Final = 512
_STRAIN_WINDOW: Final = 15.0
"""Seconds over which the load is measured: a few utterances of every speaker."""
_SETTLED: Final = 5.0
"""Seconds of a new speaker after which what their finals took says what they will take."""
_RECENT: Final = 2.0
"""Seconds over which waits are averaged."""


@dataclass(frozen=True, slots=True)
class DispatcherStats:
    """Counters since the start, and what is going on now."""

    queued: Mapping[Priority, int]
    running: int
    batches: int
    rows: int
    superseded: int
    rejected: int
    """Jobs refused because the queue was full."""
    failed: int
    waits: tuple[float, ...]
    """Seconds the last jobs waited before they ran, oldest first."""
    staff: Staff = field(default_factory=Staff)
    """The workers, and what became of them."""
    answered_at: float | None = None
    """When a job was last done well, on the dispatcher's clock (monotonic seconds)."""

    def wait(self, quantile: float) -> float:
        """A quantile (0…1) of the last waits in seconds, by nearest rank; 0 without any."""
        if not self.waits:
            return 0.0
        ranked = sorted(self.waits)
        return ranked[max(0, math.ceil(quantile * len(ranked)) - 1)]


@dataclass(slots=True)
class _Speaker:
    """When a session's speech was first to be recognised, and when last."""

    first: float
    latest: float = 0.0


class LoadMeter:
    """Measures how long jobs wait, and what finals take of the workers' time."""

    def __init__(self) -> None:
        self.waits: deque[float] = deque(maxlen=_REMEMBERED_WAITS)
        """Seconds the last jobs waited before they ran, oldest first."""
        self._urgent: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED_WAITS)
        """When the last finals began to run, and how long they had waited."""
        self._work_done: deque[tuple[float, dict[str, float]]] = deque()
        """When batches with finals ended, and the seconds each session's finals took of them."""
        self._speakers: dict[str, _Speaker] = {}
        """Whose speech was to be recognised of late."""

    def asked(self, job: Schedulable, now: float) -> None:
        """A job was asked for."""
        if job.priority is Priority.OFFLINE:
            return
        speaker = self._speakers.get(job.session)
        if speaker is None:
            speaker = self._speakers[job.session] = _Speaker(now)
        speaker.latest = now

    def began(self, job: Schedulable, now: float, waited: float) -> None:
        """A job has begun to run."""
        self.waits.append(waited)
        if job.priority is Priority.FINAL:
            self._urgent.append((now, waited))

    def ended(self, jobs: Sequence[Schedulable], began: float, now: float) -> None:
        """A batch has ended."""
        finals = [job for job in jobs if job.priority is Priority.FINAL]
        if finals:
            each = (now - began) / len(jobs)
            seconds: dict[str, float] = {}
            for job in finals:
                seconds[job.session] = seconds.get(job.session, 0.0) + each
            self._work_done.append((now, seconds))

    def strain(self, now: float, workers: int) -> float:
        """The share of the workers' time that finals take, 0…1.

        Who has only begun to speak counts as if they had spoken for as long as the others.
        """
        _forget(self._work_done, now - _STRAIN_WINDOW)
        share = 0.0
        for _, finals in self._work_done:
            for name, seconds in finals.items():
                speaker = self._speakers.get(name)
                spoken = now - speaker.first if speaker is not None else _STRAIN_WINDOW
                share += seconds / min(max(spoken, _SETTLED), _STRAIN_WINDOW)
        return min(1.0, share / workers)

    def pressure(self, now: float, workers: int) -> Pressure:
        """All of it, of late."""
        _forget(self._urgent, now - _RECENT)
        strain = self.strain(now, workers)
        waits = [wait for _, wait in self._urgent]
        speakers = {name for _, finals in self._work_done for name in finals}
        silent = [name for name, one in self._speakers.items() if one.latest < now - _STRAIN_WINDOW]
        for name in silent:
            del self._speakers[name]
        return Pressure(
            strain=strain,
            wait=sum(waits) / len(waits) if waits else 0.0,
            speakers=len(speakers),
            starting=len(self._speakers.keys() - speakers),
            workers=workers,
        )


def _forget(noted: deque[tuple[float, Any]], before: float) -> None:
    while noted and noted[0][0] < before:
        noted.popleft()
