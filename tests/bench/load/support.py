"""Small servers of the tests' own, and what they say."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.server import ServerConnection, serve

from bench.load import generator
from bench.load.plan import Plan, RunLog
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
