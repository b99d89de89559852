"""How clients are let in, over real sockets."""

from __future__ import annotations

import http

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from tests.bench.load.support import carried_out, listening, plan

pytestmark = pytest.mark.usefixtures("no_tail")


async def test_a_refused_handshake_says_why_and_when_to_come_again() -> None:
    def refuse(socket: ServerConnection, _: Request) -> Response:
        response = socket.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, '{"code": "overloaded"}')
        response.headers["Retry-After"] = "7"
        return response

    async def handler(_: ServerConnection) -> None:
        raise AssertionError

    async with listening(handler, process_request=refuse) as url:
        (stream,) = (await carried_out(plan(url, 0))).streams
    assert (stream.refused, stream.retry_after) == ("503 overloaded", 7.0)
    assert (stream.began, stream.broken) == (None, None)


async def test_a_server_may_be_full_after_the_handshake() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"uid": "u", "status": "WAIT", "message": 3.0}')
        await socket.wait_closed()

    async with listening(handler) as url:
        (stream,) = (await carried_out(plan(url, 0, server="whisperlive"))).streams
    assert (stream.refused, stream.began) == ("WAIT", None)
