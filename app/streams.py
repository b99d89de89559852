"""The streams of this process: each may lose its connection and get another, here or elsewhere."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry import trace

from app import stream_record
from app.observability.streams import StreamObservation
from app.observability.utterances import UtteranceSpans
from app.sessions import LiveSession, Progress
from app.stream_record import Record
from app.transport import SocketTransport, Watch
from guards.errors import SessionTooLong, StoreUnavailable
from guards.leases import Lease
from guards.principal import Principal
from guards.resume import Kept, Update, mint, name_of
from guards.stream_meter import StreamMeter
from streaming import wire
from streaming.driver import Models, StreamDriver, Timeouts
from streaming.errors import ResumeUnknown, SurtitleError, TakenOver
from streaming.history import Entry
from streaming.segmenter import SegmenterConfig
from streaming.session import StreamSession
from streaming.session_config import SessionConfig
from streaming.types import SAMPLE_RATE

if TYPE_CHECKING:
    from app.services import Services

log = structlog.get_logger(__name__)

_BEATS: Final = 3
"""How often a session is recorded, at least, in the time that it outlives its connection."""
_FINISHED: Final = 1_000
"""Sessions that have ended and whose last events are kept, at most."""


class Stream:
    """One session, with or without a connection (:class:`streaming.listeners.Recorder`)."""

    def __init__(
        self,
        services: Services,
        principal: Principal,
        *,
        token: str,
        lease: Lease | None,
        refusal: SurtitleError | None = None,
        kept: tuple[Kept, Record, int] | None = None,
    ) -> None:
        settings, limits = services.settings, services.limiter.limits(principal)
        record = kept[1] if kept else None
        resumable = settings.resume_seconds > 0
        identity = record.checkpoint.session if record else f"s_{secrets.token_hex(8)}"
        self.principal = principal
        self.name = name_of(token)
        self.ended = False
        """Whether nothing more will come of it but what its client has not had yet."""
        self.over = asyncio.Event()
        """Set when there is nothing left of it."""
        self._services = services
        self._lease = lease
        self._epoch = kept[0].epoch if kept else 1
        self._started_at = record.started_at if record else time.time()
        self._meter = StreamMeter(
            services.metering,
            principal,
            limits,
            identity,
            record.standing if record else None,
        )
        self._watch = Watch(self._meter, self._give_back)
        self.session = StreamSession(
            identity,
            languages=services.languages,
            model=services.recognizer.model,
            tenant=principal.user_id,
            weight=float(limits.share),
            config=_config(services),
            token=token if resumable else None,
            refusal=refusal,
        )
        history = None
        if kept is not None:
            history = stream_record.history(kept[0], kept[2])
            self.session.go_on(kept[1].checkpoint)
        self._observation, models = _observed(services, self.session)
        self.driver = StreamDriver(
            self.session,
            models,
            _timeouts(services),
            self._watch,
            recorder=self if resumable else None,
            history=history,
            observer=self._observation,
            pressed=lambda: services.lag.pressed,
        )
        self._limit = limits.session_minutes
        self.live = LiveSession(
            id=identity,
            principal=principal,
            end=self.driver.end,
            leave=self._leave,
            progress=self._progress,
            connected=lambda: self.driver.connected,
            started_at=datetime.fromtimestamp(self._started_at, UTC),
        )

    # ------------------------------------------------------------ its connections

    async def serve(
        self, transport: SocketTransport, received: int | None = None
    ) -> wire.Resume | None:
        """See :meth:`streaming.driver.StreamDriver.serve`."""
        self.live.address = transport.address
        self._watch.transport = transport
        return await self.driver.serve(transport, received)

    async def is_ours(self) -> bool:
        """Whether no other process has taken the session over."""
        if not self.ended:
            try:
                await self.driver.publish(renew=True)
            except TakenOver as error:
                self.driver.give_up_to_other(error)
        return not self.driver.taken_over

    # ------------------------------------------------------------ its life

    async def run(self) -> None:
        """Work until it is over and its client has been told."""
        sessions = self._services.sessions
        too_long = SessionTooLong(f"a stream may last {self._limit} minutes; begin another")
        left = self._started_at + self._limit * 60 - time.time()
        timer = asyncio.get_running_loop().call_later(
            max(0.0, left), sessions.end, self.live.id, too_long
        )
        try:
            with (
                structlog.contextvars.bound_contextvars(session=self.live.id),
                self._observation.running(),
            ):
                log.info("session started", key_id=self.principal.key_id)
                try:
                    await self.driver.run()
                finally:
                    timer.cancel()
                    self.ended = True
                    await asyncio.shield(self._conclude())
            await self.driver.disconnected()
        finally:
            sessions.discard(self.live)
            self.over.set()

    async def _conclude(self) -> None:
        if self.driver.taken_over:
            if self._lease is not None:
                self._services.limiter.leases.leave(self._lease)
        else:
            await self._watch.settle(self.session.audio_ms, self.session.characters)
        log.info(
            "session ended",
            audio_seconds=round(self.session.audio_samples / SAMPLE_RATE, 1),
            finals=self.session.finals,
            complete=self.session.ended,
            outcome=self._observation.outcome,
        )

    async def _give_back(self) -> None:
        if self._lease is not None:
            await self._services.limiter.leases.give_back(self._lease)

    def _leave(self, seconds: float) -> None:
        services = self._services
        elsewhere = services.settings.resumes_elsewhere and not self.session.container
        self.driver.leave(seconds, complete=not elsewhere)

    def _progress(self) -> Progress:
        session = self.session
        return Progress(
            audio_seconds=round(session.audio_samples / SAMPLE_RATE, 2),
            behind_seconds=round(session.behind, 2),
            finals=session.finals,
            characters=session.characters,
        )

    # ------------------------------------------------------------ what is kept of it

    @property
    def interval(self) -> float:
        return self._services.settings.resume_seconds / _BEATS

    async def record(self, events: Sequence[Entry], first: int) -> bool:
        session, close = self.session, self.driver.close
        if not session.started or self._lease is None:
            return True
        closed = (close.code, close.reason) if close and not session.left else None
        record = Record(
            checkpoint=session.checkpoint(),
            standing=self._meter.standing,
            lease=self._lease.id,
            started_at=self._started_at,
            closed=closed,
        )
        update = Update(
            name=self.name,
            epoch=self._epoch,
            owner=self.principal.key_id,
            state=stream_record.encode(record),
            events=[data for _, data in events],
            next=events[0][0] if events else self.driver.history.last + 1,
            first=first,
            ttl=self._services.settings.resume_seconds + 2 * self.interval,
        )
        try:
            kept = await self._services.resume.append(update)
        except StoreUnavailable:
            log.warning("a session could not be recorded; it goes on", exc_info=True)
            return False
        if not kept:
            raise TakenOver("the session goes on in another process")
        return True


class Streams:
    """Begins streams and finds them again. Event loop only."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._streams: dict[str, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Streams that are, or could be, gone on with."""
        return len(self._streams)

    async def begin(self, principal: Principal, *, returning: bool) -> Stream:
        """A new stream. Raises what speaks against it.

        From a client that is ``returning`` to a session it is let in nevertheless, and told when
        it begins another one after all.
        """
        services = self._services
        limits = services.limiter.limits(principal)
        lease, refusal = None, None
        try:
            await services.capacity.admit(principal.user_id, limits.share)
            await services.metering.require_quota(principal, limits)
            lease = await services.limiter.take(principal)
        except SurtitleError as error:
            if not returning or not services.settings.resume_seconds:
                raise
            refusal = error
        return self._start(Stream(services, principal, token=mint(), lease=lease, refusal=refusal))

    def awaits(self, principal: Principal) -> bool:
        """Whether a stream of this key has lost its connection, and may go on."""
        return any(
            stream.principal.key_id == principal.key_id
            and not stream.ended
            and not stream.driver.connected
            for stream in self._streams.values()
        )

    async def resume(self, principal: Principal, token: str, received: int) -> Stream:
        """The stream that a token stands for, from here or from another process.

        Raises ``ResumeUnknown``, ``ResumeImpossible`` and ``StoreUnavailable``.
        """
        if not self._services.settings.resume_seconds:
            raise ResumeUnknown("sessions end with their connection here; begin a new session")
        name = name_of(token)
        stream = self._streams.get(name)
        known = stream is not None and stream.principal.key_id == principal.key_id
        if stream is not None and known:
            if await stream.is_ours():
                stream.driver.check(received)
                return stream
            await stream.over.wait()
        return await self._claim(principal, token, received)

    async def close(self) -> None:
        """End what still runs, at once."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._streams.clear()

    # ------------------------------------------------------------ inside

    async def _claim(self, principal: Principal, token: str, received: int) -> Stream:
        services = self._services
        kept = await services.resume.claim(
            name_of(token), principal.key_id, services.settings.resume_seconds
        )
        if kept is None:
            raise ResumeUnknown("there is no such session (any more); begin a new one")
        record = stream_record.decode(kept.state)
        lease = Lease(principal.key_id, record.lease)
        stream = Stream(
            services, principal, token=token, lease=lease, kept=(kept, record, received)
        )
        stream.driver.check(received)
        log.info("session resumed", session=stream.session.id, finals=stream.session.finals)
        if record.closed is not None:
            stream.driver.end_as(*record.closed)
            stream.ended = True
            self._keep(stream)
            return stream
        await services.limiter.leases.adopt(lease)
        return self._start(stream)

    def _start(self, stream: Stream) -> Stream:
        self._services.sessions.add(stream.live)
        self._streams[stream.name] = stream
        task = asyncio.create_task(self._run(stream), name=f"stream {stream.session.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return stream

    async def _run(self, stream: Stream) -> None:
        try:
            await stream.run()
        finally:
            self._keep(stream)

    def _keep(self, stream: Stream) -> None:
        """Keep an ended stream for a client that has not had its last events."""
        seconds = self._services.settings.resume_seconds
        lost = stream.driver.taken_over or not stream.session.ended
        if lost or not stream.session.started or not seconds or len(self._streams) > _FINISHED:
            self._forget(stream)
        else:
            asyncio.get_running_loop().call_later(seconds, self._forget, stream)

    def _forget(self, stream: Stream) -> None:
        if self._streams.get(stream.name) is stream:
            del self._streams[stream.name]


def _config(services: Services) -> SessionConfig:
    settings = services.settings
    return SessionConfig(
        segmenter=SegmenterConfig(endpoint_ms=settings.endpoint_ms),
        max_message_bytes=settings.max_message_bytes,
        idle_timeout_seconds=settings.idle_timeout_seconds,
        resume_seconds=settings.resume_seconds,
    )


def _timeouts(services: Services) -> Timeouts:
    settings = services.settings
    return Timeouts(
        start=settings.start_timeout_seconds,
        idle=settings.idle_timeout_seconds,
        resume=settings.resume_seconds,
    )


def _observed(services: Services, session: StreamSession) -> tuple[StreamObservation, Models]:
    """Who counts what a stream does, and the models to give it: traced, if anybody wants that."""
    recognizer, translator, told = services.recognizer, services.translator, None
    span = trace.get_current_span()
    if span.is_recording():
        span.set_attribute("surtitle.session", session.id)
        spans = UtteranceSpans(services.tracing, span)
        recognizer, translator = spans.recognizer(recognizer), spans.translator(translator)
        told = spans.finish
    models = Models(
        recognizer=recognizer,
        translator=translator,
        detector=services.detector,
        open_container=services.open_container,
    )
    observation = StreamObservation(services.metrics, heard=session.audio_samples, told=told)
    return observation, models
