"""A client of ``/v1/stream`` that comes back when the connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from app.cli.replay import Replay
from app.cli.sources import BYTES_PER_SECOND

_MAX_EVENT_BYTES: Final = 4 * 1024 * 1024
_FRAME_BYTES: Final = 16 * 1024
_ATTEMPTS: Final = 10
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 10.0
_AGAIN: Final = frozenset({429, 500, 502, 503, 504})
"""Statuses of a refused handshake after which another try is worth it."""
_GOES_ON: Final = frozenset({1001, 1005, 1006, 1011, 1012, 1013, 4408})
"""Close codes after which the session may go on: the network, the server, or a slow reader."""
_AWAY: Final = 1001
_NOT_RESUMED: Final = frozenset({"resume_unknown", "resume_impossible"})

Show = Callable[[dict[str, Any]], None]


class StreamFailed(Exception):
    """The stream could not be opened, or ended with a fatal error: its message."""


class _Lost(Exception):
    """The connection is gone; another try may find the session. ``after`` is in seconds."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


def stream_address(server: str) -> str:
    """The WebSocket address of a server given as ``ws://…`` or ``http://…``, with path or not."""
    address = server.rstrip("/")
    for scheme, secure in (("http://", "ws://"), ("https://", "wss://")):
        if address.startswith(scheme):
            address = secure + address.removeprefix(scheme)
    return address if address.endswith("/v1/stream") else f"{address}/v1/stream"


def backoff(attempt: int, draw: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds before a try: exponential, with full jitter. ``attempt`` counts from 0."""
    return draw(0.0, min(_LONGEST_WAIT, _FIRST_WAIT * 2.0**attempt))


async def caption(
    source: AsyncIterator[bytes],
    show: Show,
    *,
    server: str,
    key: str | None,
    language: str = "auto",
    targets: list[str] | None = None,
) -> None:
    """Send all of ``source`` and ``show`` every event until ``done``.

    A lost connection is made anew, and the session goes on where it was, or else another hears
    what had no final yet. Raises `StreamFailed`.
    """
    start = {"type": "start", "source": language, "targets": targets or []}
    client = _Client(show, stream_address(server), key, start)
    recorder = asyncio.create_task(client.record(source))
    try:
        await client.run()
    finally:
        recorder.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await recorder


class _Client:
    """One recording: a session over one or more connections, or several sessions."""

    def __init__(self, show: Show, url: str, key: str | None, start: dict[str, Any]) -> None:
        self._show = show
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._start = start
        self._replay = Replay(BYTES_PER_SECOND)
        self._recorded = asyncio.Event()
        self._complete = False
        """Whether nothing more will be recorded."""
        self._failure: BaseException | None = None
        self._token: str | None = None
        self._received = 0
        self._attempt = 0
        self._sender: asyncio.Task[None] | None = None
        self._done: dict[str, Any] | None = None
        self._stopped = False
        self._ever = False
        """Whether a server was ever ready."""

    async def record(self, source: AsyncIterator[bytes]) -> None:
        """Keep what is recorded, connected or not."""
        try:
            async for frame in source:
                self._replay.add(frame)
                self._recorded.set()
        except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
            self._failure = error
        self._complete = True
        self._recorded.set()

    async def run(self) -> None:
        while True:
            try:
                over = await self._connected()
            except _Lost as lost:
                if not self._ever or self._attempt >= _ATTEMPTS:
                    raise StreamFailed(str(lost)) from lost
                wait = max(lost.after, backoff(self._attempt))
            else:
                if over:
                    return
                continue
            self._attempt += 1
            self._tell("reconnecting", "the connection was lost; it is being made again")
            await asyncio.sleep(wait)

    async def _connected(self) -> bool:
        """Whether the recording is over when the connection is."""
        url = self._url if self._token is None else f"{self._url}?resume=1"
        try:
            async with connect(
                url,
                additional_headers=self._headers,
                max_size=_MAX_EVENT_BYTES,
                compression=None,
            ) as socket:
                return await self._converse(socket)
        except InvalidStatus as error:
            if error.response.status_code not in _AGAIN:
                raise StreamFailed(_refusal(error)) from error
            after = error.response.headers.get("Retry-After", "")
            raise _Lost(_refusal(error), float(after) if after.isdigit() else 0.0) from error
        except ConnectionClosed as error:
            raise _Lost(f"the connection broke: {error}") from error
        except (OSError, TimeoutError, InvalidHandshake) as error:
            raise _Lost(f"{self._url} can't be reached: {error}") from error
        except InvalidURI as error:
            raise StreamFailed(f"{self._url} can't be reached: {error}") from error

    async def _converse(self, socket: ClientConnection) -> bool:
        start = dict(self._start)
        if self._token is not None:
            start["resume"] = {"token": self._token, "received_seq": self._received}
        await socket.send(json.dumps(start))
        self._connected_anew()
        try:
            with contextlib.suppress(ConnectionClosed):
                async for message in socket:
                    await self._event(socket, json.loads(message))
        finally:
            if self._sender is not None:
                self._sender.cancel()
                with contextlib.suppress(asyncio.CancelledError, ConnectionClosed):
                    await self._sender
        if self._failure is not None:
            raise self._failure
        if self._done is not None and not self._stopped:
            # The server goes away, and what it has heard is final: another goes on from there.
            self._forget()
        elif self._done is None:
            why = f"the connection ended too early ({socket.close_code} {socket.close_reason})"
            if socket.close_code not in _GOES_ON:
                raise StreamFailed(why)
            raise _Lost(why)
        return self._stopped

    def _connected_anew(self) -> None:
        self._sender = self._done = None

    async def _event(self, socket: ClientConnection, event: dict[str, Any]) -> None:
        match event["type"]:
            case "ready":
                if self._ready(event):
                    self._sender = asyncio.create_task(self._send(socket))
                else:
                    self._lose()
                    await socket.close(_AWAY)
            case "error" if event["code"] in _NOT_RESUMED and self._token is not None:
                self._lose()
                await socket.send(json.dumps(self._start))
                return
            case "done":
                self._done = event
        self._take(event)
        if event["type"] == "error" and event.get("fatal"):
            raise StreamFailed(f"{event['code']}: {event['message']}")

    def _ready(self, event: dict[str, Any]) -> bool:
        """Take that a session is there; False when what it lacks is not kept any more."""
        if event.get("resumed") and not self._replay.go_on(event["audio_received_bytes"]):
            return False
        self._ever, self._attempt = True, 0
        self._token = event.get("resume_token")
        return True

    def _lose(self) -> None:
        self._forget()
        self._tell("session_lost", "the session could not go on; another one hears the rest")

    def _forget(self) -> None:
        self._token, self._received = None, 0
        self._replay.begin_anew()

    def _take(self, event: dict[str, Any]) -> None:
        seq = event.get("seq", 0)
        if event["type"] != "ready" and seq <= self._received:
            return
        self._received = max(self._received, seq)
        self._replay.heard(event)
        self._show(event)

    async def _send(self, socket: ClientConnection) -> None:
        while True:
            self._recorded.clear()
            while frame := self._replay.take(_FRAME_BYTES):
                await socket.send(frame)
            if self._replay.lost:
                seconds = self._replay.lost / BYTES_PER_SECOND
                self._replay.lost = 0
                self._tell("sound_lost", f"{seconds:.1f} s of sound could not be kept")
            if self._failure is not None:
                await socket.close()
                return
            if self._complete:
                self._stopped = True
                await socket.send(json.dumps({"type": "stop"}))
                return
            await self._recorded.wait()

    def _tell(self, code: str, message: str) -> None:
        self._show({"type": "warning", "code": code, "message": message, "details": {}})


def _refusal(error: InvalidStatus) -> str:
    """What the server said when it refused the handshake."""
    try:
        problem = json.loads(error.response.body or b"")
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"the server answered with HTTP {error.response.status_code}"
