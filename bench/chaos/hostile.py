"""Clients that mean no good, or know no better, beside speakers who must not notice."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, WebSocketException

from bench.chaos.client import Speaker
from bench.chaos.servers import Process, until
from bench.chaos.stage import Outcome, Stage

RATE: Final = 200
"""Connects a second, and as many disconnects."""
STORM_SECONDS: Final = 5.0
_MARKER: Final = "m" * 256
_HUNG_UP_SECONDS: Final = 90.0


async def storm(stage: Stage) -> Outcome:
    """Connections that come and go at once, in order and not."""
    server = stage.servers[0]
    told: Counter[str] = Counter()

    async def strike(_: Sequence[Speaker]) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(round(RATE * STORM_SECONDS)):
                await asyncio.sleep(max(0.0, began + number / RATE - time.monotonic()))
                group.create_task(_come_and_go(server, number, told))
        told[f"{told.total() / (time.monotonic() - began):.0f} a second"] += 1

    speakers = stage.speakers([server.stream_url])
    outcome = await stage.suffer(f"{RATE} connects and disconnects a second", strike, speakers)
    outcome.saw.update({f"passers-by: {what}": count for what, count in told.items()})
    return outcome


async def slow_reader(stage: Stage) -> Outcome:
    """A client that asks for more and more answers, and reads none."""
    server = stage.servers[0]
    ends: list[str] = []

    async def strike(_: Sequence[Speaker]) -> None:
        ends.append(await _never_read(server))

    speakers = stage.speakers([server.stream_url])
    outcome = await stage.suffer("a client that never reads", strike, speakers)
    outcome.saw[f"the one that never reads: {ends[0]}"] += 1
    return outcome


HOSTILE: Final = {scenario.__name__: scenario for scenario in (storm, slow_reader)}


async def _come_and_go(server: Process, number: int, told: Counter[str]) -> None:
    try:
        async with _socket(server) as socket:
            match number % 4:
                case 0:  # not even a `start`
                    socket.transport.abort()
                case 1:  # before `ready`
                    await socket.send('{"type": "start"}')
                    socket.transport.abort()
                case 2:  # in the middle of its audio
                    await _begin(socket)
                    await socket.send(bytes(1280))
                    socket.transport.abort()
                case _:  # in order
                    await _begin(socket)
                    await socket.send('{"type": "stop"}')
                    async for _ in socket:
                        pass
        told["served"] += 1
    except (WebSocketException, InvalidHandshake, OSError, TimeoutError) as error:
        told[type(error).__name__] += 1


async def _never_read(server: Process) -> str:
    """Send until that does not go on; how it ended."""
    async with _socket(server, max_queue=1) as socket:
        session = (await _begin(socket))["session"]
        message = json.dumps({"type": "finalize", "marker": _MARKER})
        began = time.monotonic()

        async def flood() -> None:
            while True:
                await socket.send(message)

        async def ended() -> bool:
            return session not in await server.sessions()

        flooding = asyncio.create_task(flood())
        try:
            await until(ended, _HUNG_UP_SECONDS, "the session of who never reads has ended")
        finally:
            flooding.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketException, OSError):
                await flooding
            socket.transport.abort()
        return f"ended after {time.monotonic() - began:.0f} s"


async def _begin(socket: ClientConnection) -> Mapping[str, Any]:
    await socket.send('{"type": "start"}')
    event: dict[str, Any] = json.loads(await socket.recv())
    return event


def _socket(server: Process, **options: Any) -> connect:
    return connect(
        server.stream_url,
        additional_headers=server.headers,
        compression=None,
        open_timeout=20,
        close_timeout=1,
        ping_interval=None,
        **options,
    )
