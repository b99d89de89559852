"""The clients against small servers of the test's own, over real sockets."""

from __future__ import annotations

import http
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from bench.load import generator
from bench.load.dialects import DIALECTS
from bench.load.generator import Idle, Plan, RunLog
from bench.load.schedule import Line, Script
from streaming import wire

Handler = Callable[[ServerConnection], Awaitable[None]]

FRAMES = [[b"a0", b"a1"], [b"b0"]]
QUIET = [b"q"]
READY = json.dumps(
    {
        "type": "ready",
        "seq": 1,
        "session": "s",
        "resume_token": None,
        "limits": {
            "max_message_bytes": 1,
            "max_segment_seconds": 1,
            "idle_timeout_seconds": 1,
        },
        "model": "m",
    }
)
DONE = json.dumps(
    {
        "type": "done",
        "seq": 3,
        "audio_seconds": 0.1,
        "segments": 1,
        "usage": {"audio_seconds": 0.1, "characters": 2},
    }
)
FINAL = wire.encode(
    wire.FinalEvent(seq=2, segment=0, start=0, end=1, language="en", text="Hi", confidence=1)
).decode()


@pytest.fixture(autouse=True)
def _no_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    for dialect in DIALECTS.values():
        monkeypatch.setattr(dialect, "tail", (0.04, 0.04))


@asynccontextmanager
async def listening(handler: Handler, **options: Any) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        host, port = next(iter(server.sockets)).getsockname()[:2]
        yield f"ws://{host}:{port}"


def plan(url: str, *lines: int, server: str = "surtitle") -> Plan:
    said = tuple(Line(index, 0.0) for index in lines)
    return Plan(
        server=server,
        url=url,
        health=None,
        headers=[{"Authorization": "Bearer k"}],
        frames={"s16": FRAMES, "f32": FRAMES},
        quiet={"s16": QUIET, "f32": QUIET},
        scripts=[Script(stream=0, offset=0.0, lines=said, seconds=0.04 * len(lines))],
    )


async def carried_out(wanted: Plan) -> RunLog:
    return await generator._generate(wanted)


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


async def test_idle_sessions_are_there_before_anyone_speaks() -> None:
    idle: list[str | bytes] = []

    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(READY)
        async for message in socket:
            if message == "quiet":
                idle.append(message)
            if message == '{"type": "stop"}':
                await socket.send(DONE)

    async with listening(handler) as url:
        crowd = Idle(count=3, ramp=0.0, settle=0.1, every=0.05, message="quiet")
        log = await carried_out(replace(plan(url, 0), idle=crowd))
    assert (log.idle_connected, log.idle_lost) == (3, 0)
    assert len(idle) >= 3
    assert log.speaking - log.began >= 0.1
    assert log.streams[0].broken is None


async def test_idle_sessions_that_are_refused_or_dropped_are_lost() -> None:
    greeted = itertools.count()

    async def handler(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(READY)
        if next(greeted) == 0:
            return
        async for message in socket:
            if message == '{"type": "stop"}':
                await socket.send(DONE)

    def admit(socket: ServerConnection, request: Request) -> Response | None:
        wrong = request.headers["Authorization"] == "Bearer wrong"
        return socket.respond(http.HTTPStatus.TOO_MANY_REQUESTS, "{}") if wrong else None

    async with listening(handler, process_request=admit) as url:
        crowd = Idle(count=4, ramp=0.0, settle=0.1, every=0.05, message=b"quiet", tenants=2)
        keys = [{"Authorization": f"Bearer {key}"} for key in ("right", "wrong")]
        log = await carried_out(replace(plan(url, 0), idle=crowd, headers=keys))
    assert (log.idle_connected, log.idle_lost) == (2, 3)
    assert log.streams[0].broken is None


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
