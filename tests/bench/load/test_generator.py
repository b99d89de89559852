"""The clients against small servers, over real sockets."""

from __future__ import annotations

import http
import json
from dataclasses import replace

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from bench.load import generator
from tests.bench.load.support import DONE, FINAL, READY, carried_out, listening, plan

pytestmark = pytest.mark.usefixtures("no_tail")


async def test_a_script_is_spoken_frame_by_frame_and_then_quiet() -> None:
    received: list[str | bytes] = []

    async def handler(socket: ServerConnection) -> None:
        assert socket.request is not None
        assert socket.request.headers["Authorization"] == "Bearer k"
        received.append(await socket.recv())
        await socket.send(READY)
        async for message in socket:
            received.append(message)
            if message == '{"type": "stop"}':
                await socket.send(FINAL)
                await socket.send(DONE)

    async with listening(handler) as url:
        log = await carried_out(plan(url, 1, 0))
    assert json.loads(received[0])["type"] == "start"
    assert received[1:] == [b"b0", b"a0", b"a1", b"q", '{"type": "stop"}']
    (stream,) = log.streams
    assert (stream.refused, stream.broken) == (None, None)
    assert stream.transcript.text == "Hi"
    # Real time: three frames and one of quiet, of 40 ms each.
    assert stream.transcript.finals[0].time >= 0.16
    assert log.own_delays


async def test_a_connection_that_ends_early_is_broken() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(READY)
        await socket.close(4503, "draining")

    async with listening(handler) as url:
        (stream,) = (await carried_out(plan(url, *[0] * 20))).streams
    assert stream.broken is not None
    assert "4503" in stream.broken
    assert stream.began is not None


@pytest.mark.parametrize(("patient", "broken"), [(True, None), (False, "closed before")])
async def test_where_closing_is_the_end_it_must_come_after_the_closing_message(
    patient: bool, broken: str | None
) -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"uid": "u", "message": "SERVER_READY"}')
        async for message in socket:
            if message == b"END_OF_AUDIO" or not patient:
                return

    async with listening(handler) as url:
        wanted = plan(url, *[0] * 20, server="whisperlive")
        (stream,) = (await carried_out(wanted)).streams
    assert (stream.broken is None) == (broken is None)
    assert broken is None or str(stream.broken).startswith(broken)


async def test_a_server_that_never_finishes_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(generator, "_PATIENCE", 0.01)

    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(READY)
        await socket.send(FINAL)
        await socket.wait_closed()

    async with listening(handler) as url:
        (stream,) = (await carried_out(plan(url, 0))).streams
    assert str(stream.broken).startswith("not finished")
    assert stream.transcript.text == "Hi"


async def test_a_server_that_is_not_there() -> None:
    async with listening(lambda socket: socket.wait_closed()) as url:
        gone = url
    (stream,) = (await carried_out(plan(gone, 0))).streams
    assert stream.broken is not None
    assert stream.began is None


async def test_the_servers_health_is_asked_for_meanwhile() -> None:
    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(READY)
        async for message in socket:
            if message == '{"type": "stop"}':
                await socket.send(DONE)

    def answer(socket: ServerConnection, request: Request) -> Response | None:
        healthy = request.path == "/health/simple"
        return socket.respond(http.HTTPStatus.OK, "ok\n") if healthy else None

    async with listening(handler, process_request=answer) as url:
        health = url.replace("ws:", "http:") + "/health/simple"
        log = await carried_out(replace(plan(url, 0, 0), health=health))
    assert log.answers
