"""``/v1/stream``: a session of the core over a Litestar WebSocket."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog
from litestar import WebSocket, websocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect
from opentelemetry import trace

from app.observability.streams import StreamObservation
from app.observability.utterances import UtteranceSpans
from app.services import Services, has_place, services_of, serving
from app.sessions import LiveSession, Progress
from guards.admission import limited
from guards.auth import may_stream, permitted_origin
from guards.credentials import address_of, agreed_subprotocol
from guards.errors import SessionTooLong, StoreUnavailable
from guards.pace import Pace
from guards.principal import Principal
from guards.stream_meter import StreamMeter
from guards.tiers import Endpoint, Limits
from streaming.driver import Models, StreamDriver, Timeouts
from streaming.segmenter import SegmenterConfig
from streaming.session import SessionConfig, StreamSession
from streaming.types import SAMPLE_RATE
from streaming.wire import WarningEvent

log = structlog.get_logger(__name__)

Socket = WebSocket[Principal, Any, State]


class SocketTransport:
    """A Litestar WebSocket as the core's transport, read no faster than its pace."""

    def __init__(self, socket: Socket, pace: Pace) -> None:
        self._socket = socket
        self.pace = pace
        self.throttled = False
        """Whether frames came faster than they are read."""

    async def receive(self) -> str | bytes | None:
        """The next frame as it came; ``receive_data`` would lose which of the two kinds it was."""
        delay = self.pace.delay(time.monotonic())
        if delay:
            self.throttled = True
            await asyncio.sleep(delay)
        # Litestar's annotation leaves out that servers send one of the two keys, or both.
        message: Any = await self._socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        return text if text is not None else message.get("bytes", b"")

    async def send(self, data: bytes) -> None:
        try:
            await self._socket.send_data(data.decode(), mode="text")
        except (OSError, RuntimeError, WebSocketDisconnect) as error:
            # Which of them depends on the server and on who closed first.
            raise ConnectionError from error

    async def close(self, code: int, reason: str) -> None:
        try:
            await self._socket.close(code=code, reason=reason)
        except (OSError, RuntimeError, WebSocketDisconnect) as error:
            raise ConnectionError from error


class Watch:
    """Everything a session is watched for while it runs (:class:`streaming.driver.Meter`).

    ``give_back`` ends what it held; who has been told of the end may begin another at once.
    """

    def __init__(
        self,
        meter: StreamMeter,
        transport: SocketTransport,
        give_back: Callable[[], Awaitable[None]],
    ) -> None:
        self._meter = meter
        self._transport = transport
        self._give_back = give_back
        self._told = False

    async def spend(self, audio_ms: int, characters: int) -> Sequence[WarningEvent]:
        warnings = await self._meter.spend(audio_ms, characters)
        pace = self._transport.pace
        if self._transport.throttled and not self._told:
            self._told = True
            message = f"more than {pace.rate:g} messages a second; the rest is read later"
            warnings.append(WarningEvent(code="throttled", message=message))
        return warnings

    async def settle(self, audio_ms: int, characters: int) -> None:
        try:
            await self._meter.close(audio_ms, characters)
        except StoreUnavailable:
            # Booked is what was reserved, which is more, by no more than one chunk.
            log.warning("usage not settled", exc_info=True)
        await self._give_back()


@websocket(
    "/v1/stream",
    guards=[permitted_origin, may_stream, serving, limited(Endpoint.STREAM), has_place],
)
async def stream_handler(socket: Socket) -> None:
    """Captions for one speaker: audio in, partials, finals and translations out."""
    services = services_of(socket)
    principal = socket.user
    limits = services.limiter.limits(principal)
    await services.metering.require_quota(principal, limits)
    session = StreamSession(
        f"s_{secrets.token_hex(8)}",
        languages=services.languages,
        model=services.recognizer.model,
        tenant=principal.user_id,
        weight=float(limits.share),
        config=_config(services),
    )
    transport = SocketTransport(socket, Pace(limits.messages_per_second))
    observation, models = _observed(services, session)
    meter = StreamMeter(services.metering, principal, limits)
    async with services.limiter.stream(principal) as lease:
        watch = Watch(meter, transport, partial(services.limiter.leases.give_back, lease))
        driver = StreamDriver(
            session, transport, models, _timeouts(services), watch, observer=observation
        )
        live = LiveSession(
            id=session.id,
            principal=principal,
            end=driver.end,
            address=address_of(socket),
            progress=lambda: _progress(session),
        )
        with services.sessions.running(live), _at_most(limits, services, session.id):
            await socket.accept(subprotocols=agreed_subprotocol(socket))
            with (
                structlog.contextvars.bound_contextvars(session=session.id),
                observation.running(),
            ):
                log.info("session started", key_id=principal.key_id)
                try:
                    await driver.run()
                finally:
                    await asyncio.shield(watch.settle(session.audio_ms, session.characters))
                    log.info(
                        "session ended",
                        audio_seconds=round(session.audio_samples / SAMPLE_RATE, 1),
                        finals=session.finals,
                        complete=session.ended,
                        outcome=observation.outcome,
                    )


@contextmanager
def _at_most(limits: Limits, services: Services, session: str) -> Iterator[None]:
    """End a session that lasts too long."""
    error = SessionTooLong(f"a stream may last {limits.session_minutes} minutes; begin another")
    timer = asyncio.get_running_loop().call_later(
        limits.session_minutes * 60, services.sessions.end, session, error
    )
    try:
        yield
    finally:
        timer.cancel()


def _progress(session: StreamSession) -> Progress:
    return Progress(
        audio_seconds=round(session.audio_samples / SAMPLE_RATE, 2),
        behind_seconds=round(session.behind, 2),
        finals=session.finals,
        characters=session.characters,
    )


def _config(services: Services) -> SessionConfig:
    settings = services.settings
    return SessionConfig(
        segmenter=SegmenterConfig(endpoint_ms=settings.endpoint_ms),
        max_message_bytes=settings.max_message_bytes,
        idle_timeout_seconds=settings.idle_timeout_seconds,
    )


def _timeouts(services: Services) -> Timeouts:
    settings = services.settings
    return Timeouts(start=settings.start_timeout_seconds, idle=settings.idle_timeout_seconds)


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
