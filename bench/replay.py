"""A stream replayed against a virtual clock.

The session, the batch policy and the models are the server's own; only time is simulated. Audio
"arrives" at the pace of speech, each model call is really made and takes the time it really took,
on one of so many workers. So an hour of speech is measured in the time its decoding takes, and the
figures are those of an otherwise idle server.

Calls are made one at a time and workers have one thread, so the processor time of this process is
what a call takes on an idle core; unlike the time on the wall it doesn't depend on neighbours.
Voice activity (0.2 ms a window), the network and the event loop count as nothing, and a sender is
never held back; ``bench/live.py`` checks on the real server that this is near enough.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from inference.batching import BatchQueue, Ticket, one_per_session
from streaming import wire
from streaming.actions import Action, Close, Detect, Emit, Recognize, Translate
from streaming.driver import Models
from streaming.errors import Overloaded, Superseded, SurtitleError
from streaming.lag import Lag
from streaming.ports import LanguageCatalogue
from streaming.session import StreamSession
from streaming.session_config import SessionConfig
from streaming.types import SAMPLE_RATE, Audio, Priority, RecognitionJob, TranslationJob

FRAME = 640
"""Samples in a frame of the client: 40 ms."""


@dataclass(frozen=True, slots=True)
class Timed:
    """An event and when the client would have had it, in seconds of speech."""

    time: float
    event: wire.Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One model call. Times are in seconds of speech."""

    kind: str
    """``transcribe`` or ``translate``, as asked of the recogniser; ``text`` of the translator."""
    segment: int
    revision: int
    priority: Priority
    audio_seconds: float
    asked: float
    began: float
    done: float
    encode: float
    """How much of ``done - began`` the recogniser's encoder took."""


@dataclass(slots=True)
class Replay:
    """What came of one stream."""

    events: list[Timed] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @property
    def recognitions(self) -> int:
        return sum(call.kind != "text" for call in self.calls)

    @property
    def recognition_seconds(self) -> float:
        return sum(call.done - call.began for call in self.calls if call.kind != "text")

    @property
    def translations(self) -> int:
        return sum(call.kind == "text" for call in self.calls)


@dataclass(slots=True)
class _Pool:
    """Workers that serve one queue."""

    free: int
    queue: BatchQueue[Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Done:
    """A call has ended."""

    ticket: Ticket[Any]
    result: Any


@dataclass(frozen=True, slots=True, eq=False)
class _Again:
    """A job for which there was no room is asked for again."""

    job: Any


def _one_per_task(job: Any) -> Hashable:
    """What the recogniser replaces: what is older of the same segment and task."""
    return job.segment, job.task


def _one_per_line(job: Any) -> Hashable:
    """What the translator replaces: an older interim of the same segment and target."""
    return (job.segment, job.target) if job.priority is Priority.PARTIAL else None


class Simulation:
    """One stream. ``workers`` are those of the recogniser, ``translators`` of the translator.

    ``clock`` tells how long a call takes; ``encoder`` the seconds spent in the encoder so far.
    """

    def __init__(
        self,
        models: Models,
        languages: LanguageCatalogue,
        *,
        config: SessionConfig | None = None,
        workers: int = 2,
        translators: int = 1,
        clock: Callable[[], float] = time.process_time,
        encoder: Callable[[], float] = float,
    ) -> None:
        self._models = models
        self._clock = clock
        self._encoder = encoder
        self._session = StreamSession("replay", languages=languages, model="", config=config)
        speech: BatchQueue[Any] = BatchQueue(
            group=id, supersede_key=_one_per_task, lane=one_per_session
        )
        text: BatchQueue[Any] = BatchQueue(
            group=id, supersede_key=_one_per_line, lane=_one_per_line, patience=0.0
        )
        self._pools = {
            RecognitionJob: _Pool(workers, speech),
            TranslationJob: _Pool(translators, text),
        }
        self._voice = models.detector.open()
        self._lag = Lag()
        self._now = 0.0
        self._pending: list[tuple[float, int, Any]] = []
        self._order = itertools.count()
        self._replay = Replay()

    async def run(self, audio: Audio, **start: Any) -> Replay:
        """Play audio, then ``stop``; return when the session has ended."""
        self._session.receive_text(msgspec.json.encode({"type": "start", **start}))
        await self._perform()
        for at, frame in frames(audio):
            self._later(at, frame)
        self._later(len(audio) / SAMPLE_RATE, "stop")
        while self._pending:
            self._now, _, happening = heapq.heappop(self._pending)
            await self._happen(happening)
        if not self._session.ended:
            raise RuntimeError("the session did not end")
        self._voice.close()
        return self._replay

    def _later(self, at: float, happening: Any) -> None:
        heapq.heappush(self._pending, (at, next(self._order), happening))

    async def _happen(self, happening: Any) -> None:
        match happening:
            case bytes():
                self._session.receive_binary(happening)
                session = self._session
                session.note_lag(self._lag.note(self._now, session.audio_samples, session.behind))
            case str():
                self._session.receive_text('{"type": "stop"}')
            case _Again(job=job):
                self._put(job)
            case _Done(ticket=ticket, result=result):
                pool = self._pools[type(ticket.job)]
                pool.free += 1
                pool.queue.done(ticket, self._now)
                self._deliver(ticket.job, result)
        await self._perform()

    def _deliver(self, job: Any, result: Any) -> None:
        session = self._session
        match job, result:
            case RecognitionJob(), SurtitleError():
                session.receive_recognition_failure(job, result)
            case RecognitionJob(), _:
                session.receive_hypothesis(job, result)
            case TranslationJob(), SurtitleError():
                session.receive_translation_failure(job, result)
            case TranslationJob(), _:
                session.receive_translation(job, result)

    async def _perform(self) -> None:
        while actions := self._session.actions():
            for action in actions:
                await self._do(action)
        for pool in self._pools.values():
            while pool.free and (tickets := pool.queue.take(self._now, 1)):
                pool.free -= 1
                await self._work(tickets[0])

    async def _do(self, action: Action) -> None:
        match action:
            case Emit(event=event):
                self._replay.events.append(Timed(self._now, event))
            case Detect(windows=windows):
                self._session.receive_probabilities(await self._voice.detect(windows))
            case Recognize(job=job):
                self._put(job)
            case Translate(job=translation):
                self._put(translation)
            case Close():
                pass
            case _:
                raise NotImplementedError(f"{type(action).__name__} is not simulated")

    def _put(self, job: Any) -> None:
        pool = self._pools[type(job)]
        try:
            displaced = pool.queue.put(job, self._now).displaced
        except Overloaded as error:
            # As the driver does: what must not be lost is asked for again.
            if job.priority is Priority.FINAL:
                self._later(self._now + (error.retry_after or 0.25), _Again(job))
            else:
                self._deliver(job, error)
            return
        for one in displaced:
            self._deliver(one.job, Superseded("a newer request took its place"))

    async def _work(self, ticket: Ticket[Any]) -> None:
        job = ticket.job
        began, encoded = self._clock(), self._encoder()
        try:
            if isinstance(job, RecognitionJob):
                result: Any = await self._models.recognizer.recognize(job)
            else:
                result = await self._models.translator.translate(job)
        except SurtitleError as error:
            result = error
        done = self._now + self._clock() - began
        speech = isinstance(job, RecognitionJob)
        self._replay.calls.append(
            Call(
                kind=job.task if speech else "text",
                segment=job.segment,
                revision=job.revision,
                priority=job.priority,
                audio_seconds=len(job.audio) / SAMPLE_RATE if speech else 0.0,
                asked=ticket.queued_at,
                began=self._now,
                done=done,
                encode=self._encoder() - encoded,
            )
        )
        self._later(done, _Done(ticket, result))


def frames(audio: Audio) -> Iterator[tuple[float, bytes]]:
    """Frames of s16le and when the last sample of each was spoken."""
    data = np.round(np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()
    for at in range(0, len(data), 2 * FRAME):
        frame = data[at : at + 2 * FRAME]
        yield (at + len(frame)) / 2 / SAMPLE_RATE, frame
