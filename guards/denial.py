"""Real HTTP answers to refused WebSocket handshakes.

What raises before ``accept`` Litestar turns into ``websocket.close``, of which every server makes
an empty HTTP 403: no reason, no Retry-After. Here the exception is remembered by a hook, and an
outermost ASGI layer sends a response in the close's place, by the ASGI extension
``websocket.http.response``. Where a server lacks it the close keeps a telling code: 4000 + status.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_KEY: Final = "surtitle.refusal"
_EXTENSION: Final = "websocket.http.response"
_REASON_BYTES: Final = 123
"""What fits into a close frame (RFC 6455, section 5.5.1, less the code)."""

Response = tuple[int, Sequence[tuple[bytes, bytes]], bytes]
"""Status, headers, body."""

Render = Callable[[Exception, Scope], Response]


async def remember(error: Exception, scope: Scope) -> None:
    """``after_exception`` hook: keeps a WebSocket's exception for :class:`HandshakeDenial`."""
    if scope["type"] == ScopeType.WEBSOCKET:
        state: dict[str, Any] = scope.setdefault("state", {})
        state[_KEY] = error


class HandshakeDenial:
    """Wraps the application. ``render`` makes the response for an exception."""

    def __init__(self, app: ASGIApp, render: Render) -> None:
        self._app = app
        self._render = render

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.WEBSOCKET:
            await self._app(scope, receive, send)
            return
        accepted = False

        async def answer(message: Message) -> None:
            nonlocal accepted
            if message["type"] == "websocket.accept":
                accepted = True
            error = scope.get("state", {}).get(_KEY)
            if accepted or message["type"] != "websocket.close" or error is None:
                await send(message)
                return
            status, headers, body = self._render(error, scope)
            extensions: dict[str, Any] = scope.get("extensions") or {}
            if _EXTENSION not in extensions:
                reason = str(error).encode()[:_REASON_BYTES].decode(errors="ignore")
                await send({"type": "websocket.close", "code": 4000 + status, "reason": reason})
                return
            # Litestar's message types know no denial responses.
            start: Any = {"type": f"{_EXTENSION}.start", "status": status, "headers": list(headers)}
            await send(start)
            rest: Any = {"type": f"{_EXTENSION}.body", "body": body, "more_body": False}
            await send(rest)

        await self._app(scope, receive, answer)
