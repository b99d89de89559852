"""What a dispatcher has done and how much is asked of it. Pure: time is an argument."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
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
    segment: int = -1
    """The newest that had a final, and how long it is, in seconds."""
    length: float = 0.0

    def heard(self, segment: int, length: float) -> float:
        """How much of a final's audio is new: what is begun again counts once."""
        before = self.length if segment == self.segment else 0.0
        self.segment, self.length = segment, length
        return length - before


class LoadMeter:
    """Measures how long jobs wait, and what finals take of the workers' time.

    ``length`` gives the seconds of audio of a job, 0 where that means nothing.
    """

    def __init__(self, length: Callable[[Any], float] = lambda _job: 0.0) -> None:
        self._length = length
        self.waits: deque[float] = deque(maxlen=_REMEMBERED_WAITS)
        """Seconds the last jobs waited before they ran, oldest first."""
        self._urgent: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED_WAITS)
        """When the last finals began to run, and how long they had waited."""
        self._work_done: deque[tuple[float, str, float, float]] = deque()
        """When finals ended and whose, the seconds they took, and the new audio in them."""
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
            for job in finals:
                speaker = self._speakers.get(job.session)
                audio = 0.0
                if speaker is not None:
                    speaker.latest = now
                    audio = speaker.heard(job.segment, self._length(job))
                self._work_done.append((now, job.session, each, audio))

    def strain(self, now: float, workers: int) -> float:
        """The share of the workers' time that finals take, 0…1.

        Who has only begun to speak counts as if they had spoken for as long as the others; who
        sends faster than speech as if they spoke: they are held back and take what is left.
        """
        _forget(self._work_done, now - _STRAIN_WINDOW)
        taken: dict[str, tuple[float, float]] = {}
        for _, name, seconds, audio in self._work_done:
            # The first of these may have begun long before; without it a live speaker's audio is
            # never longer than the window.
            before, heard = taken.get(name, (0.0, -audio))
            taken[name] = before + seconds, heard + audio
        share = 0.0
        for name, (seconds, audio) in taken.items():
            share += seconds / max(self._spoken(name, now), audio)
        return min(1.0, share / workers)

    def _spoken(self, name: str, now: float) -> float:
        """For how long of the window somebody has spoken, seconds; all of it for who has gone."""
        speaker = self._speakers.get(name)
        if speaker is None or now - speaker.latest > _SETTLED:
            return _STRAIN_WINDOW
        return min(max(now - speaker.first, _SETTLED), _STRAIN_WINDOW)

    def pressure(self, now: float, workers: int) -> Pressure:
        """All of it, of late."""
        _forget(self._urgent, now - _RECENT)
        strain = self.strain(now, workers)
        waits = [wait for _, wait in self._urgent]
        speakers = {name for _, name, _, _ in self._work_done}
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


def _forget(noted: deque[Any], before: float) -> None:
    while noted and noted[0][0] < before:
        noted.popleft()
