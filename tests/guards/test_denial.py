"""The layer alone; ``tests/app/test_handshake.py`` has it on real servers."""

from __future__ import annotations

from typing import Any

import pytest

from guards.denial import HandshakeDenial, Response, remember
from guards.errors import AuthenticationRequired


def render(error: Exception, _: Any) -> Response:
    assert isinstance(error, AuthenticationRequired)
    return error.status, [(b"x", b"y")], b"body"


async def sent(scope: dict[str, Any], *messages: dict[str, Any]) -> list[Any]:
    """What reaches the server when the application fails, and then sends these."""
    out: list[Any] = []

    async def app(inner: Any, _: Any, send: Any) -> None:
        await remember(AuthenticationRequired("who?"), inner)
        for message in messages:
            await send(message)

    async def send(message: Any) -> None:
        out.append(message)

    wrapped: Any = HandshakeDenial(app, render)
    await wrapped(scope, None, send)
    return out


CLOSE = {"type": "websocket.close", "code": 4500, "reason": ""}


async def test_a_close_before_accept_becomes_a_response() -> None:
    scope = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
    start, body = await sent(scope, CLOSE)
    assert start == {
        "type": "websocket.http.response.start",
        "status": 401,
        "headers": [(b"x", b"y")],
    }
    assert body == {"type": "websocket.http.response.body", "body": b"body", "more_body": False}


@pytest.mark.parametrize("extensions", [{}, None])
async def test_without_the_extension_the_close_code_tells(extensions: Any) -> None:
    (close,) = await sent({"type": "websocket", "extensions": extensions}, CLOSE)
    assert close == {"type": "websocket.close", "code": 4401, "reason": "who?"}


async def test_after_accept_nothing_is_touched() -> None:
    scope = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
    accept = {"type": "websocket.accept"}
    assert await sent(scope, accept, CLOSE) == [accept, CLOSE]


async def test_http_passes() -> None:
    message = {"type": "http.response.start", "status": 500}
    assert await sent({"type": "http"}, message) == [message]
