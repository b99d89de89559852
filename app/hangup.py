"""Ends connections whose request nobody wants to read to its end.

A request that is refused before its body was read (no credential, too large) leaves the server with
the rest: to keep the connection it would have to read all of it, ten gigabytes if need be. Here the
answer says that the connection closes, and the rest is read only for as long as a client needs to
take notice; closed at once, it would be reset, and many clients would never see the answer.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_SMALL: Final = 64 * 1024
"""Bytes that are read in any case: a connection is worth more than they are."""
_LINGER_SECONDS: Final = 2.0
_LINGER_BYTES: Final = 16 * 1024 * 1024


class HangUp:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and _may_be_large(scope):
            exchange = _Exchange(receive, send)
            await self._app(scope, exchange.receive, exchange.send)
        else:
            await self._app(scope, receive, send)


class _Exchange:
    """One request with a large body, and its answer."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._read = False
        """Whether there is nothing more to be read."""
        self._closing = False

    async def receive(self) -> Any:
        message: Any = await self._receive()
        self._read = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        answer: Any = message
        if answer["type"] == "http.response.start" and not self._read:
            self._closing = True
            answer["headers"] = [*answer["headers"], (b"connection", b"close")]
        last = answer["type"] == "http.response.body" and not answer.get("more_body", False)
        if not (last and self._closing):
            await self._send(message)
            return
        whole: Any = {**answer, "more_body": True}
        await self._send(whole)
        await self._linger()
        end: Any = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(end)

    async def _linger(self) -> None:
        left = _LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while left > 0 and not self._read:
                    left -= len((await self.receive()).get("body", b""))


def _may_be_large(scope: Scope) -> bool:
    for name, value in scope["headers"]:
        if name == b"transfer-encoding":
            return True
        if name == b"content-length":
            return not (value.isdigit() and int(value) <= _SMALL)
    return False
