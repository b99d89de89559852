"""A Litestar WebSocket as the core sees it, and what is watched while a stream runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from litestar import WebSocket
from litestar.datastructures import State
from litestar.exceptions import WebSocketDisconnect

from guards.credentials import address_of
from guards.errors import StoreUnavailable
from guards.pace import Pace
from guards.principal import Principal
from guards.stream_meter import StreamMeter
from streaming.wire import WarningEvent

log = structlog.get_logger(__name__)

Socket = WebSocket[Principal, Any, State]


class SocketTransport:
    """A Litestar WebSocket as the core's transport, read no faster than its pace."""

    def __init__(self, socket: Socket, pace: Pace) -> None:
        self._socket = socket
        self.address = address_of(socket)
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
    """Everything a session is watched for while it runs (:class:`streaming.listeners.Meter`).

    ``give_back`` ends what it held; who has been told of the end may begin another at once.
    """

    def __init__(self, meter: StreamMeter, give_back: Callable[[], Awaitable[None]]) -> None:
        self.transport: SocketTransport | None = None
        """The connection, now or last."""
        self._meter = meter
        self._give_back = give_back
        self._told = False

    def covers(self, audio_ms: int) -> bool:
        return self._meter.covers(audio_ms) and (self._told or not self._throttled)

    async def spend(self, audio_ms: int, characters: int) -> Sequence[WarningEvent]:
        warnings = await self._meter.spend(audio_ms, characters)
        if self.transport is not None and self._throttled and not self._told:
            self._told = True
            rate = self.transport.pace.rate
            message = f"more than {rate:g} messages a second; the rest is read later"
            warnings.append(WarningEvent(code="throttled", message=message))
        return warnings

    @property
    def _throttled(self) -> bool:
        return self.transport is not None and self.transport.throttled

    async def settle(self, audio_ms: int, characters: int) -> None:
        try:
            await self._meter.close(audio_ms, characters)
        except StoreUnavailable:
            # Booked is what was reserved, which is more, by no more than one chunk.
            log.warning("usage not settled", exc_info=True)
        await self._give_back()
