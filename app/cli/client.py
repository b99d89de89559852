"""A small client of ``/v1/stream``."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

_MAX_EVENT_BYTES: Final = 4 * 1024 * 1024

Show = Callable[[dict[str, Any]], None]


class StreamFailed(Exception):
    """The stream could not be opened, or ended with a fatal error: its message."""


def stream_address(server: str) -> str:
    """The WebSocket address of a server given as ``ws://…`` or ``http://…``, with path or not."""
    address = server.rstrip("/")
    for scheme, secure in (("http://", "ws://"), ("https://", "wss://")):
        if address.startswith(scheme):
            address = secure + address.removeprefix(scheme)
    return address if address.endswith("/v1/stream") else f"{address}/v1/stream"


async def caption(
    source: AsyncIterator[bytes],
    show: Show,
    *,
    server: str,
    key: str | None,
    language: str = "auto",
    targets: list[str] | None = None,
) -> None:
    """Send all of ``source`` and ``show`` every event until ``done``. Raises `StreamFailed`."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with connect(
            stream_address(server),
            additional_headers=headers,
            max_size=_MAX_EVENT_BYTES,
            compression=None,
        ) as socket:
            await _converse(socket, source, show, language, targets or [])
    except InvalidStatus as error:
        raise StreamFailed(_refusal(error)) from error
    except ConnectionClosed as error:
        raise StreamFailed(f"the connection broke: {error}") from error
    except (OSError, TimeoutError, InvalidHandshake, InvalidURI) as error:
        raise StreamFailed(f"{server} can't be reached: {error}") from error


async def _converse(
    socket: ClientConnection,
    source: AsyncIterator[bytes],
    show: Show,
    language: str,
    targets: list[str],
) -> None:
    await socket.send(json.dumps({"type": "start", "source": language, "targets": targets}))
    sender = asyncio.create_task(_send(socket, source))
    try:
        await _receive(socket, show)
    finally:
        sender.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
            await sender


async def _send(socket: ClientConnection, source: AsyncIterator[bytes]) -> None:
    async for frame in source:
        await socket.send(frame)
    await socket.send(json.dumps({"type": "stop"}))


async def _receive(socket: ClientConnection, show: Show) -> None:
    fatal: str | None = None
    done = False
    with contextlib.suppress(ConnectionClosed):
        async for message in socket:
            event = json.loads(message)
            show(event)
            done = done or event["type"] == "done"
            if event["type"] == "error" and event.get("fatal"):
                fatal = f"{event['code']}: {event['message']}"
    if fatal is not None:
        raise StreamFailed(fatal)
    if not done:
        raise StreamFailed(
            f"the connection ended too early ({socket.close_code} {socket.close_reason})"
        )


def _refusal(error: InvalidStatus) -> str:
    """What the server said when it refused the handshake."""
    try:
        problem = json.loads(error.response.body or b"")
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"the server answered with HTTP {error.response.status_code}"
