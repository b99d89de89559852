"""Idle sessions, over real sockets."""

from __future__ import annotations

import http
import itertools
from dataclasses import replace

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from bench.load.plan import Idle
from tests.bench.load.support import DONE, READY, carried_out, listening, plan

pytestmark = pytest.mark.usefixtures("no_tail")


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
