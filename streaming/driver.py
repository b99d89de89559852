"""Runs a session: the only place in the core that knows asyncio.

Four kinds of tasks share one session on one event loop. The reader gives it frames, the listener
has sound decoded and searched for speech in order, a task for each job waits for a model, and the
writer sends what came of it. The session's methods never wait, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from streaming import wire
from streaming.actions import Action, Close, Decode, Detect, Emit, Recognize, Translate
from streaming.errors import (
    IdleTimeout,
    InternalError,
    Overloaded,
    SlowReader,
    StartTimeout,
    SurtitleError,
)
from streaming.outbox import Outbox
from streaming.ports import ContainerDecoder, Recognizer, Translator, VoiceDetector, VoiceStream
from streaming.session import StreamSession
from streaming.types import SAMPLE_RATE, Priority, RecognitionJob, TranslationJob

log = logging.getLogger(__name__)

T = TypeVar("T")

_PIECE: Final = 16 * 1024
"""Bytes of a frame that are metered at a time: half a second of 16-bit audio at 16 kHz."""

MAX_BEHIND: Final = 10.0
"""Seconds of audio that may wait to be listened to before no more is read."""

_AHEAD: Final = 2.0
"""Seconds of audio by which a live speaker may be ahead of the clock: the network's hiccups. Who
sends faster than that has no delay to complain of."""


class Transport(Protocol):
    """A connection to one client."""

    async def receive(self) -> str | bytes | None:
        """The next frame: text, or bytes of audio. None when the client has gone."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a text frame (UTF-8). Raises ``ConnectionError`` when the client has gone."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close the connection. Raises ``ConnectionError`` when the client has gone."""
        ...


class Meter(Protocol):
    """Is told what a session uses, while it uses it."""

    async def spend(self, audio_ms: int, characters: int) -> Sequence[wire.WarningEvent]:
        """Take totals so far; returns what the client is to be told.

        Raises a fatal ``SurtitleError`` to end the session: what was said is finalised.
        """
        ...

    async def settle(self, audio_ms: int, characters: int) -> None:
        """Take what it comes to in the end, before the client is told of the end.

        May be called more than once; raises nothing.
        """
        ...


class Observer(Protocol):
    """Is told what comes and goes. Must be quick, and raise nothing."""

    def heard(self, samples: int, size: int) -> None:
        """``size`` bytes of audio came, or were decoded; so many samples are known by now."""
        ...

    def sent(self, event: wire.Event, size: int) -> None:
        """An event was sent, in ``size`` bytes."""
        ...

    def closed(self, code: int, reason: str) -> None:
        """The connection is closed from this side."""
        ...


class _Unobserved:
    def heard(self, samples: int, size: int) -> None:
        pass

    def sent(self, event: wire.Event, size: int) -> None:
        pass

    def closed(self, code: int, reason: str) -> None:
        pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """What a session's work is done with."""

    recognizer: Recognizer
    translator: Translator
    detector: VoiceDetector
    open_container: Callable[[], ContainerDecoder]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long is waited, in seconds."""

    start: float = 10.0
    """For the first ``start``."""
    idle: float = 60.0
    """For any frame, once started."""
    send: float = 30.0
    """For a client that does not read."""
    partial: float = 2.0
    """For a partial. What comes later is no use, and holds up what follows."""
    lag: float = 5.0
    """How late the audio of a live speaker may be listened to before partials are given up."""
    overload: float = 0.25
    """Between tries to have a final recognised when queues are full."""


class _Lag:
    """How late a live speaker's audio is listened to. Times are in seconds."""

    __slots__ = ("_arrived", "_began")

    def __init__(self) -> None:
        self._began: float | None = None
        self._arrived: deque[tuple[float, float]] = deque()
        """When audio came that was not yet listened to, and how much had come by then."""

    def note(self, now: float, heard: float, done: float) -> float:
        """Take that ``heard`` seconds of audio have come and ``done`` of them were listened to."""
        if self._began is None:
            self._began = now - heard
        self._arrived.append((now, heard))
        while self._arrived and self._arrived[0][1] <= done:
            self._arrived.popleft()
        live = heard <= now - self._began + _AHEAD
        return now - self._arrived[0][0] if live and self._arrived else 0.0


class StreamDriver:
    """Runs one session over one connection."""

    def __init__(
        self,
        session: StreamSession,
        transport: Transport,
        models: Models,
        timeouts: Timeouts | None = None,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
    ) -> None:
        self.session = session
        self._observer: Observer = observer or _Unobserved()
        self._transport = transport
        self._models = models
        self._timeouts = timeouts or Timeouts()
        self._clock = clock
        self._lag = _Lag()
        self._meter = meter
        self._outbox = Outbox()
        self._outgoing = asyncio.Event()
        self._progress = asyncio.Event()
        self._sound: asyncio.Queue[Decode | Detect] = asyncio.Queue()
        self._voice: VoiceStream | None = None
        self._container: ContainerDecoder | None = None
        self._close: Close | None = None
        self._jobs: dict[tuple[Any, ...], asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Run until the connection is closed by either side. Leaves no task behind."""
        loops = [
            asyncio.create_task(self._guarded(self._read())),
            asyncio.create_task(self._guarded(self._listen())),
            asyncio.create_task(self._write()),
        ]
        reader, _, writer = loops
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = [*loops, *self._jobs.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._voice is not None:
                self._voice.close()
            if self._container is not None:
                self._container.close()

    def end(self, error: SurtitleError | None) -> None:
        """Take no more audio, send what is owed, then the error (or ``done``), and close.

        To be called on the event loop; returns at once.
        """
        self.session.end(error)
        self._perform()

    # ------------------------------------------------------------ the loops

    async def _read(self) -> None:
        session = self.session
        while not session.ended:
            while session.behind >= MAX_BEHIND:
                self._progress.clear()
                await self._progress.wait()
            try:
                async with asyncio.timeout(self._patience()):
                    frame = await self._transport.receive()
            except TimeoutError:
                session.end(self._impatience())
                self._perform()
                continue
            if frame is None:
                return
            if isinstance(frame, str):
                session.receive_text(frame)
                await self._heard()
                continue
            for piece in self._pieces(frame):
                session.receive_binary(piece)
                self._observer.heard(session.audio_samples, len(piece))
                self._watch_lag()
                await self._heard()
                if session.ending:
                    break
        # Only the writer ends a session that has ended by itself.
        await asyncio.Event().wait()

    def _pieces(self, frame: bytes) -> list[bytes]:
        """A frame as it is metered. Captions don't depend on where it is cut."""
        size = len(frame)
        if self._meter is None or not _PIECE < size <= self.session.config.max_message_bytes:
            return [frame]
        return [frame[at : at + _PIECE] for at in range(0, size, _PIECE)]

    async def _heard(self) -> None:
        """Wait until what was given to the session is known to it, and meter it."""
        self._perform()
        await self._sound.join()
        if self._meter is None:
            return
        session = self.session
        try:
            warnings = await self._meter.spend(session.audio_ms, session.characters)
        except SurtitleError as error:
            self.end(error)
            return
        if not session.ended:
            for warning in warnings:
                self._send(warning)

    def _watch_lag(self) -> None:
        session = self.session
        heard = session.audio_samples / SAMPLE_RATE
        lag = self._lag.note(self._clock(), heard, heard - session.behind)
        if lag >= self._timeouts.lag:
            session.fall_behind(lag)
        elif lag <= self._timeouts.lag / 5:
            session.catch_up()

    def _patience(self) -> float | None:
        if self.session.ending:
            return None
        return self._timeouts.idle if self.session.started else self._timeouts.start

    def _impatience(self) -> SurtitleError:
        if self.session.started:
            return IdleTimeout(f"nothing came for {self._timeouts.idle:g} s, not even a keepalive")
        return StartTimeout(f"no `start` came within {self._timeouts.start:g} s")

    async def _listen(self) -> None:
        while True:
            action = await self._sound.get()
            try:
                match action:
                    case Detect(windows=windows):
                        if self._voice is None:
                            self._voice = self._models.detector.open()
                        found = await self._voice.detect(windows)
                        self.session.receive_probabilities(found)
                    case Decode():
                        await self._decode(action)
                self._perform()
            finally:
                self._sound.task_done()

    async def _decode(self, action: Decode) -> None:
        if self._container is None:
            self._container = self._models.open_container()
        try:
            if action.last:
                samples = await self._container.flush()
            else:
                samples = await self._container.feed(action.data)
        except SurtitleError as error:
            self.session.receive_decoding_failure(error)
        else:
            self.session.receive_samples(samples, last=action.last)
            self._observer.heard(self.session.audio_samples, 0)

    async def _write(self) -> None:
        try:
            while True:
                if self._close is not None and self._meter is not None:
                    await self._meter.settle(self.session.audio_ms, self.session.characters)
                while (event := self._outbox.take()) is not None:
                    data = wire.encode(event)
                    async with asyncio.timeout(self._timeouts.send):
                        await self._transport.send(data)
                    self._observer.sent(event, len(data))
                if self._close is not None:
                    self._observer.closed(self._close.code, self._close.reason)
                    await self._transport.close(self._close.code, self._close.reason)
                    return
                self._outgoing.clear()
                await self._outgoing.wait()
        except ConnectionError:
            return
        except TimeoutError:
            log.warning("session %s: the client does not read", self.session.id)
            await self._hang_up(SlowReader("the client does not read"))

    async def _hang_up(self, error: SurtitleError) -> None:
        self._observer.closed(error.close_code, error.code)
        try:
            async with asyncio.timeout(1):
                await self._transport.close(error.close_code, error.code)
        except (ConnectionError, TimeoutError):
            pass

    # ------------------------------------------------------------ actions

    def _perform(self) -> None:
        """Set going what the session wants done."""
        actions = deque(self.session.actions())
        while actions:
            self._set_going(actions.popleft())
        self._progress.set()

    def _set_going(self, action: Action) -> None:
        match action:
            case Emit(event=event):
                self._send(event)
            case Detect() | Decode():
                self._sound.put_nowait(action)
            case Recognize(job=job):
                self._start((job.segment, job.revision, job.task), self._recognize(job))
            case Translate(job=translation):
                key = (translation.segment, translation.revision, "to", translation.target)
                self._start(key, self._translate(translation))
            case Close():
                self._close = action
                self._outgoing.set()

    def _send(self, event: wire.Event) -> None:
        try:
            self._outbox.put(event)
        except SlowReader as error:
            # There is no way to tell it but to hang up.
            self._outbox = Outbox()
            self._close = Close(error.close_code, error.code)
        self._outgoing.set()

    def _start(self, key: tuple[Any, ...], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._jobs[key] = task

        def forget(done: asyncio.Task[None]) -> None:
            work.close()  # a task that is cancelled at once never begins it
            # A retry of the same job may stand in its place by now.
            if self._jobs.get(key) is done:
                del self._jobs[key]

        task.add_done_callback(forget)

    async def _recognize(self, job: RecognitionJob) -> None:
        partial = job.priority is Priority.PARTIAL
        try:
            async with asyncio.timeout(self._timeouts.partial if partial else None):
                hypothesis = await self._insist(
                    job.priority, lambda: self._models.recognizer.recognize(job)
                )
        except TimeoutError:
            late = Overloaded(f"no answer within {self._timeouts.partial:g} s")
            self.session.receive_recognition_failure(job, late)
        except SurtitleError as error:
            self.session.receive_recognition_failure(job, error)
        else:
            self.session.receive_hypothesis(job, hypothesis)
        self._perform()

    async def _translate(self, job: TranslationJob) -> None:
        try:
            translation = await self._insist(
                job.priority, lambda: self._models.translator.translate(job)
            )
        except SurtitleError as error:
            self.session.receive_translation_failure(job, error)
        else:
            self.session.receive_translation(job, translation)
        self._perform()

    async def _insist(self, priority: Priority, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask; and where a queue is full, ask again for what must not be lost."""
        while True:
            try:
                return await ask()
            except Overloaded as error:
                if priority is not Priority.FINAL:
                    raise
                await asyncio.sleep(error.retry_after or self._timeouts.overload)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """End the session with an honest error when something of ours breaks."""
        try:
            await work
        except SurtitleError as error:
            self.session.fail(error)
            self._perform()
            await asyncio.Event().wait()
        except Exception:
            log.exception("session %s broke", self.session.id)
            self.session.fail(InternalError("something broke in the server; this was logged"))
            self._perform()
            await asyncio.Event().wait()
