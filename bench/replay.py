"""A stream replayed against a virtual clock.

The session, the batch policy and the models are the server's own; only time is simulated. Audio
"arrives" at the pace of speech, each model call is really made and takes the time it really took,
on one of so many workers. So an hour of speech is measured in the time its decoding takes, and the
figures are those of an otherwise idle server.

Calls are made one at a time and workers have one thread, so the processor time of this process is
what a call takes on an idle core; unlike the time on the wall it doesn't depend on neighbours.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from inference.batching import BatchQueue, Ticket
from streaming import wire
from streaming.actions import Action, Cancel, Close, Decode, Detect, Emit, Recognize, Translate
from streaming.driver import Models
from streaming.errors import SurtitleError
from streaming.ports import LanguageCatalogue
from streaming.session import SessionConfig, StreamSession
from streaming.types import SAMPLE_RATE, Audio, RecognitionJob, TranslationJob

FRAME = 640
"""Samples in a frame of the client: 40 ms."""


@dataclass(frozen=True, slots=True)
class Timed:
    """An event and when the client would have had it, in seconds of speech."""

    time: float
    event: wire.Event


@dataclass(slots=True)
class Replay:
    """What came of one stream."""

    events: list[Timed] = field(default_factory=list)
    recognitions: int = 0
    recognition_seconds: float = 0.0
    translations: int = 0


@dataclass(slots=True)
class _Pool:
    """Workers that serve one queue."""

    free: int
    queue: BatchQueue[Any]
    tickets: list[Ticket[Any]] = field(default_factory=list)


class Simulation:
    """One stream. ``workers`` are those of the recogniser; the translator has one."""

    def __init__(
        self,
        models: Models,
        languages: LanguageCatalogue,
        *,
        config: SessionConfig | None = None,
        workers: int = 2,
        clock: Callable[[], float] = time.process_time,
    ) -> None:
        self._models = models
        self._clock = clock
        self._session = StreamSession("replay", languages=languages, model="", config=config)
        self._pools = {
            RecognitionJob: _Pool(workers, BatchQueue(group=id)),
            TranslationJob: _Pool(1, BatchQueue(group=id)),
        }
        self._voice = models.detector.open()
        self._now = 0.0
        self._pending: list[tuple[float, int, Any]] = []
        self._order = itertools.count()
        self._replay = Replay()

    async def run(self, audio: Audio, **start: Any) -> Replay:
        """Play audio, then ``stop``; return when the session has ended."""
        self._session.receive_text(msgspec.json.encode({"type": "start", **start}))
        await self._perform()
        for at, frame in _frames(audio):
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
        session = self._session
        match happening:
            case bytes():
                session.receive_binary(happening)
            case str():
                session.receive_text('{"type": "stop"}')
            case (RecognitionJob() as job, ticket, result):
                self._release(job, ticket)
                if isinstance(result, SurtitleError):
                    session.receive_recognition_failure(job, result)
                else:
                    session.receive_hypothesis(job, result)
            case (TranslationJob() as job, ticket, result):
                self._release(job, ticket)
                if isinstance(result, SurtitleError):
                    session.receive_translation_failure(job, result)
                else:
                    session.receive_translation(job, result)
        await self._perform()

    def _release(self, job: Any, ticket: Ticket[Any]) -> None:
        pool = self._pools[type(job)]
        pool.free += 1
        pool.queue.done(ticket)

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
            case Cancel(segment=segment, below=below):
                pool = self._pools[RecognitionJob]
                for ticket in pool.tickets:
                    job = ticket.job
                    wanted = job.revision >= below or job.task == "translate"
                    if job.segment == segment and not wanted:
                        pool.queue.cancel(ticket)
            case Close() | Decode():
                pass

    def _put(self, job: Any) -> None:
        pool = self._pools[type(job)]
        pool.tickets.append(pool.queue.put(job, self._now).ticket)

    async def _work(self, ticket: Ticket[Any]) -> None:
        job = ticket.job
        began = self._clock()
        try:
            if isinstance(job, RecognitionJob):
                result: Any = await self._models.recognizer.recognize(job)
            else:
                result = await self._models.translator.translate(job)
        except SurtitleError as error:
            result = error
        took = self._clock() - began
        if isinstance(job, RecognitionJob):
            self._replay.recognitions += 1
            self._replay.recognition_seconds += took
        else:
            self._replay.translations += 1
        self._later(self._now + took, (job, ticket, result))


def _frames(audio: Audio) -> Iterator[tuple[float, bytes]]:
    """Frames of s16le and when the last sample of each was spoken."""
    data = np.round(np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()
    for at in range(0, len(data), 2 * FRAME):
        frame = data[at : at + 2 * FRAME]
        yield (at + len(frame)) / 2 / SAMPLE_RATE, frame
