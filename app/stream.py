"""``/v1/stream``: a session of the core over a Litestar WebSocket."""

from __future__ import annotations

import secrets
from typing import Any

import structlog
from litestar import WebSocket, websocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect

from app.services import Services, services_of, serving
from app.sessions import LiveSession, Progress
from guards.auth import may_stream, permitted_origin
from guards.credentials import address_of, agreed_subprotocol
from guards.principal import Principal
from streaming.driver import Models, StreamDriver, Timeouts
from streaming.segmenter import SegmenterConfig
from streaming.session import SessionConfig, StreamSession
from streaming.types import SAMPLE_RATE

log = structlog.get_logger(__name__)

Socket = WebSocket[Principal, Any, State]


class SocketTransport:
    """A Litestar WebSocket as the core's transport."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def receive(self) -> str | bytes | None:
        """The next frame as it came; ``receive_data`` would lose which of the two kinds it was."""
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


@websocket("/v1/stream", guards=[permitted_origin, may_stream, serving])
async def stream_handler(socket: Socket) -> None:
    """Captions for one speaker: audio in, partials, finals and translations out."""
    services = services_of(socket)
    principal = socket.user
    session = StreamSession(
        f"s_{secrets.token_hex(8)}",
        languages=services.languages,
        model=services.recognizer.model,
        tenant=principal.user_id,
        config=_config(services),
    )
    driver = StreamDriver(session, SocketTransport(socket), _models(services), _timeouts(services))
    live = LiveSession(
        id=session.id,
        principal=principal,
        end=driver.end,
        address=address_of(socket),
        progress=lambda: _progress(session),
    )
    with services.sessions.running(live):
        await socket.accept(subprotocols=agreed_subprotocol(socket))
        with structlog.contextvars.bound_contextvars(session=session.id):
            try:
                await driver.run()
            finally:
                log.info(
                    "session ended",
                    audio_seconds=round(session.audio_samples / SAMPLE_RATE, 1),
                    finals=session.finals,
                    complete=session.ended,
                )


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


def _models(services: Services) -> Models:
    return Models(
        recognizer=services.recognizer,
        translator=services.translator,
        detector=services.detector,
        open_container=services.open_container,
    )
