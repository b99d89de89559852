"""Runs a session: with its connection, ears, jobs and publisher all of the core that knows asyncio.

A session's tasks share one event loop: one has sound decoded and searched for speech in order, and
one for each job waits for a model. Each connection has one that reads frames and one that sends
what came of them. The session's methods never wait, so nothing needs a lock.

A connection may be lost and another take its place. In between the session works on what it has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from streaming import wire
from streaming.actions import (
    Acknowledge,
    Action,
    Close,
    Decode,
    Detect,
    Emit,
    Recognize,
    Resume,
    Translate,
)
from streaming.connection import Connection, Transport
from streaming.errors import (
    InternalError,
    ResumeUnknown,
    SlowReader,
    SurtitleError,
    TakenOver,
)
from streaming.history import History
from streaming.jobs import Jobs
from streaming.listeners import Meter, Observer, Recorder, Unobserved
from streaming.ports import ContainerDecoder, Recognizer, Translator, VoiceDetector
from streaming.publisher import Publisher
from streaming.session import StreamSession
from streaming.sound import Sound

log = logging.getLogger(__name__)


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
    resume: float = 0.0
    """For another connection, when one was lost; 0: the session ends with it."""


class StreamDriver:
    """Runs one session: :meth:`run` its work, :meth:`serve` each of its connections.

    ``history`` are the events of a session that another process began; ``pressed`` tells whether
    the event loop has more to do than it can.
    """

    def __init__(
        self,
        session: StreamSession,
        models: Models,
        timeouts: Timeouts | None = None,
        meter: Meter | None = None,
        *,
        recorder: Recorder | None = None,
        history: History | None = None,
        clock: Callable[[], float] = time.monotonic,
        observer: Observer | None = None,
        pressed: Callable[[], bool] = lambda: False,
    ) -> None:
        self.session = session
        self.observer: Observer = observer or Unobserved()
        self.timeouts = timeouts or Timeouts()
        self.history = history or History()
        self.taken_over = False
        """Whether another process goes on with the session."""
        self._meter = meter
        self._recorder = recorder
        self._publisher = Publisher(self.history, recorder, self.observer, clock)
        self._news = asyncio.Event()
        self._connection: Connection | None = None
        self._alone = asyncio.Event()
        self._alone.set()
        self._request: wire.Resume | None = None
        self._sound = Sound(
            session,
            models.detector,
            models.open_container,
            most_lag=self.timeouts.lag,
            clock=clock,
            pressed=pressed,
            observer=self.observer,
            progressed=self._perform,
            broke=self._broke,
        )
        self._close: Close | None = None
        self._closing: asyncio.Task[None] | None = None
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        """Ends a session that nobody comes back to, or that has to leave."""
        self._leaving: bool | None = None
        """Whether it leaves as soon as nobody speaks, and is then complete."""
        self._jobs = Jobs(
            session,
            models.recognizer,
            models.translator,
            patience=self.timeouts.partial,
            pause=self.timeouts.overload,
            guarded=self.guarded,
            progressed=self._perform,
        )
        self._performing = False

    @property
    def close(self) -> Close | None:
        """How the session's connection is closed, once it has ended."""
        return self._close

    @property
    def connected(self) -> bool:
        return self._connection is not None

    async def run(self) -> None:
        """Work until the session is over. Leaves no task behind.

        It is over when it has ended, when its connection was lost and it can't have another, or
        when another process has taken it over.
        """
        keeping = asyncio.create_task(self.guarded(self._keep))
        try:
            await self._over.wait()
        finally:
            self._over.set()
            self._stop_timer()
            self._sound.drop()
            tasks = [keeping, *self._jobs.tasks, *filter(None, [self._closing])]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._sound.close()

    async def serve(self, transport: Transport, received: int | None = None) -> wire.Resume | None:
        """Be connected until the connection is over, in place of any other.

        ``received`` is the last event that a client has which comes back; see :meth:`check`.
        Returns what it asked for in case that it wants to go on with another session: the
        connection is then still open.
        """
        last = self.history.last if received is None else received
        connection = Connection(self, transport, last)
        before, self._connection = self._connection, connection
        self._alone.clear()
        self._stop_timer()
        if before is not None:
            before.release(TakenOver("the session goes on over another connection"))
            await before.over()
        self._sound.release()
        greeting = None
        if received is not None:
            self.history.acknowledge(received)
            greeting = self.session.resumed(received)
        try:
            await connection.run(greeting)
        finally:
            self._sound.release()
            if self._connection is connection:
                self._connection = None
                self._alone.set()
                if connection.request is None:
                    self._lost()
        return connection.request

    async def disconnected(self) -> None:
        """Wait until there is no connection."""
        await self._alone.wait()

    def check(self, received: int) -> None:
        """Raise ``ResumeUnknown`` when what follows an event is not known (any more)."""
        if not self.history.follows(received):
            raise ResumeUnknown(
                f"the events after {received} are not there any more; begin a new session"
            )

    def refuse(self, error: SurtitleError) -> None:
        """Tell that there is no session to go on with; the client may start this one."""
        self.session.refuse_resume(error)
        self._perform()

    def end(self, error: SurtitleError | None) -> None:
        """Take no more audio, send what is owed, then the error (or ``done``), and close.

        To be called on the event loop; returns at once.
        """
        self._sound.release()
        self.session.end(error)
        self._perform()

    def leave(self, seconds: float, *, complete: bool) -> None:
        """End when nobody speaks, or after so many seconds: the server goes away.

        ``complete`` says that nobody goes on with the session elsewhere. Returns at once.
        """
        if self._leaving is not None:
            return
        self._leaving = complete
        if self.session.started and not self.session.ending and self.connected:
            elsewhere = "begin another" if complete else "resume it"
            message = f"the server goes away; the session ends soon: {elsewhere}"
            details = {"seconds": seconds, "resume": not complete}
            self._send(wire.WarningEvent(code="draining", message=message, details=details))
            self._stop_timer()
            self._timer = asyncio.get_running_loop().call_later(seconds, self._leave)
            self._perform()
        else:
            self._leave()

    def end_as(self, code: int, reason: str) -> None:
        """Be over, as a session that ended in another process: there is only what it said."""
        self._close = Close(code, reason)
        self.session.finish()
        self._over.set()

    def abandon(self) -> None:
        """Be over at once; what is unfinished is lost."""
        self._over.set()

    # ------------------------------------------------------------ for its connection

    @property
    def has_room(self) -> bool:
        """Whether more audio may be read."""
        return self._sound.has_room

    async def take_text(self, frame: str) -> wire.Resume | None:
        """Take a text frame; returns which other session the client asked for, if it did."""
        self._sound.release()
        await self._sound.rest()
        self.session.receive_text(frame)
        self._perform()
        await self._sound.rest()
        if self._meter is not None:
            await self._pay(self._meter)
        request, self._request = self._request, None
        return request

    async def take_audio(self, piece: bytes) -> None:
        """Take a frame of audio, or a piece of one."""
        await self._sound.take(piece)
        if self._meter is not None and not self._meter.covers(self.session.audio_ms):
            await self._pay(self._meter)

    async def publish(self, *, renew: bool = False) -> Close | None:
        """Number what waits, record it, and make it part of the history.

        Returns how the connection is to be closed after that, if it is.
        """
        if self._closing is not None and asyncio.current_task() is not self._closing:
            await asyncio.wait([self._closing])
        close = self._close
        await self._publisher.publish(renew=renew, closing=close is not None)
        return close

    def sent(self, seq: int) -> None:
        """Note that events were sent up to this one."""
        if not self.timeouts.resume:
            self.history.acknowledge(seq)

    def give_up_to_other(self, error: TakenOver) -> None:
        """Another process goes on with the session: leave it alone from now on."""
        self.taken_over = True
        self.observer.closed(error.close_code, error.code)
        if self._connection is not None:
            self._connection.release(error)
        self.abandon()

    async def guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """End the session with an honest error when something of ours breaks."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - the client is told, whatever it is
            self._broke(error)
            if not isinstance(error, TakenOver):
                await asyncio.Event().wait()

    # ------------------------------------------------------------ inside

    def _broke(self, error: BaseException) -> None:
        if isinstance(error, TakenOver):
            self.give_up_to_other(error)
            return
        if not isinstance(error, SurtitleError):
            log.error("session %s broke", self.session.id, exc_info=error)
            error = InternalError("something broke in the server; this was logged")
        self.session.fail(error)
        self._perform()

    async def _keep(self) -> None:
        """Record while nobody is connected, and from time to time."""
        while self._recorder is not None:
            try:
                async with asyncio.timeout(self._recorder.interval):
                    await self._news.wait()
            except TimeoutError:
                await self.publish(renew=self.session.started)
            self._news.clear()
            if not self.connected and self._publisher.lasting:
                await self.publish()

    def _lost(self) -> None:
        """Go on for a while without a connection, if there is something to come back to."""
        if self._over.is_set() or self._close is not None:
            return
        if not self.session.started or not self.timeouts.resume:
            self.abandon()
        elif self._leaving is not None:
            self._leave()
        else:
            self._timer = asyncio.get_running_loop().call_later(
                self.timeouts.resume, self.end, None
            )
            self._wake()

    def _leave(self) -> None:
        self._stop_timer()
        self._sound.release()
        self.session.leave(complete=bool(self._leaving))
        self._perform()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._news.set()
        if self._connection is not None:
            self._connection.news.set()

    async def _pay(self, meter: Meter) -> None:
        """Meter what was given to the session."""
        session = self.session
        try:
            warnings = await meter.spend(session.audio_ms, session.characters)
        except SurtitleError as error:
            self.end(error)
            return
        if not session.ended:
            for warning in warnings:
                self._send(warning)

    # ------------------------------------------------------------ actions

    def _perform(self) -> None:
        """Set going what the session wants done."""
        if self._performing:
            return  # what an action led to is done after those that were wanted before it
        self._performing = True
        try:
            while actions := self.session.actions():
                for action in actions:
                    self._set_going(action)
        finally:
            self._performing = False
        if self._connection is not None:
            self._connection.progress.set()
        if self._leaving is not None and self.session.at_rest and not self.session.ending:
            self._leave()

    def _set_going(self, action: Action) -> None:
        match action:
            case Emit(event=event):
                self._send(event)
            case Detect() | Decode():
                self._sound.ask(action)
            case Recognize(job=job):
                self._jobs.recognize(job)
            case Translate(job=translation):
                self._jobs.translate(translation)
            case Resume(request=request):
                self._request = request
            case Acknowledge(seq=seq):
                self.history.acknowledge(seq)
            case Close():
                self._end_with(action)

    def _send(self, event: wire.Event) -> None:
        try:
            self._publisher.put(event)
        except SlowReader as error:
            # There is no way to tell it but to hang up.
            self._end_with(Close(error.close_code, error.code))
        self._wake()

    def _end_with(self, close: Close) -> None:
        if self._close is None:
            self._close = close
            self.observer.closed(close.code, close.reason)
            self._closing = asyncio.create_task(self.guarded(self._finish))

    async def _finish(self) -> None:
        """Settle, and record the end, before the client is told of it."""
        if self._meter is not None:
            await self._meter.settle(self.session.audio_ms, self.session.characters)
        try:
            await self.publish(renew=True)
        finally:
            self._over.set()
            self._wake()
