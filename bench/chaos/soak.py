"""Many minutes of speech while something random breaks every few seconds.

Before that the same speakers speak while nothing does: what a model makes of the same audio differs
from time to time by itself, with what it shares its batches and processors with.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from bench.chaos.client import Speaker
from bench.chaos.leaks import census, left_over
from bench.chaos.proxy import Proxy
from bench.chaos.servers import stream_url
from bench.chaos.stage import PATIENCE, START, Stage
from bench.chaos.tally import References, Struck, Told, tally
from tests.redis_server import RedisServer

_BETWEEN: Final = (4.0, 14.0)
"""Seconds between two faults."""
_QUIET: Final = 5.0
"""Seconds before the end from which nothing breaks any more: what broke is still mended."""


@dataclass(slots=True)
class Soak:
    """A run. Everything random comes from ``seed``, but for what the machine does."""

    stage: Stage
    minutes: float
    streams: int
    seed: int
    calm: float = 0.0
    """Minutes in which nothing breaks, before the others."""
    undisturbed: list[Told] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    struck: list[Struck] = field(default_factory=list)
    down: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while one of the servers is not there: never both."""
    lines: list[Line] = field(default_factory=list)
    unmended: int = 0
    """How often a server did not start, and was started once more."""
    _mending: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self) -> dict[str, Any]:
        """Speak and break until the time is over, and wait for the last finals; what came of it."""
        redis = self.stage.redis
        port = redis.port if redis is not None else None
        if self.calm:
            await self._play(60 * self.calm, self.undisturbed, breaks=False)
        before = [await census(server, port) for server in self.stage.servers]
        await self._play(60 * self.minutes, self.told, breaks=True)
        left: dict[str, float] = {}
        for server, held in zip(self.stage.servers, before, strict=True):
            await server.control({"do": "release"})
            found = await left_over(server, held, store_port=port)
            left |= {f"{server.name} {what}": more for what, more in found.items()}
        if self.unmended:
            left["server that did not start"] = self.unmended
        return {
            "left": left,
            "minutes": self.minutes,
            "streams": self.streams,
            "seed": self.seed,
            "calm": self._calm(),
            **tally(self.told, self.struck, self.stage.speeches, self._references()),
        }

    def _references(self, but: Told | None = None) -> References:
        """What was heard of each speech while nothing broke, ``but`` in one session."""
        return [
            [
                *(run[number].finals for run in self.stage.undisturbed),
                *(
                    one.record.finals
                    for one in self.undisturbed
                    if one.speech == number and one is not but
                ),
            ]
            for number in range(len(self.stage.speeches))
        ]

    def _calm(self) -> dict[str, Any]:
        """How alike the undisturbed sessions are, each compared with the others."""
        found = [
            tally([one], [], self.stage.speeches, self._references(but=one))
            for one in self.undisturbed
        ]
        return {
            "minutes": self.calm,
            "utterances": sum(one["utterances"] for one in found),
            "wrong": [what for one in found for what in one["wrong"]],
        }

    async def _play(self, seconds: float, told: list[Told], *, breaks: bool) -> None:
        draw = random.Random(self.seed)  # noqa: S311 - no secret
        ports = [server.port for server in self.stage.servers]
        ends = time.monotonic() + seconds
        self.lines.clear()
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for _ in range(self.streams):
                proxy = await stack.enter_async_context(Proxy(ports))
                line = Line(proxy, random.Random(draw.random()))  # noqa: S311 - no secret
                self.lines.append(line)
                group.create_task(self._speak(line, ends, told))
            if breaks:
                await self._break(draw, ends - _QUIET)
        await asyncio.gather(*self._mending)

    def mend(self, work: Awaitable[None]) -> None:
        """Do something beside what goes on, and before the end."""
        task = asyncio.ensure_future(work)
        self._mending.add(task)

    async def _speak(self, line: Line, ends: float, told: list[Told]) -> None:
        while time.monotonic() < ends:
            number = line.draw.randrange(len(self.stage.speeches))
            speech = self.stage.speeches[number]
            speaker = Speaker(
                [stream_url(line.proxy.port)], self.stage.servers[0].key, speech.audio, **START
            )
            line.speaker = speaker
            try:
                await speaker.run(speech.seconds + PATIENCE)
            except TimeoutError:
                told.append(Told(number, speaker.record, given_up=True))
            else:
                told.append(Told(number, speaker.record, given_up=False))

    async def _break(self, draw: random.Random, ends: float) -> None:
        while True:
            pause = draw.uniform(*_BETWEEN)
            if time.monotonic() + pause > ends:
                return
            await asyncio.sleep(pause)
            fault = draw.choice(FAULTS)
            self.struck.append(Struck(fault.__name__.replace("_", " "), time.monotonic()))
            await fault(self, draw)


@dataclass(slots=True)
class Line:
    """A speaker's way to the servers."""

    proxy: Proxy
    draw: random.Random
    speaker: Speaker | None = None


Fault = Callable[[Soak, random.Random], Awaitable[None]]


async def connection_cut(soak: Soak, draw: random.Random) -> None:
    draw.choice(soak.lines).proxy.cut()


async def all_connections_cut(soak: Soak, draw: random.Random) -> None:  # noqa: ARG001 - as all faults
    for line in soak.lines:
        line.proxy.cut()


async def half_open_connection(soak: Soak, draw: random.Random) -> None:
    draw.choice(soak.lines).proxy.freeze()


async def half_closed_connection(soak: Soak, draw: random.Random) -> None:
    draw.choice(soak.lines).proxy.half_close()


async def slow_network(soak: Soak, draw: random.Random) -> None:
    line = draw.choice(soak.lines)
    line.proxy.delay = draw.uniform(0.02, 0.03)
    await asyncio.sleep(draw.uniform(2, 5))
    line.proxy.delay = 0.0


async def reader_pauses(soak: Soak, draw: random.Random) -> None:
    speaker = draw.choice(soak.lines).speaker
    if speaker is not None:
        speaker.reading.clear()
        await asyncio.sleep(draw.uniform(2, 8))
        speaker.reading.set()


async def redis_restarts(soak: Soak, draw: random.Random) -> None:
    redis = soak.stage.redis
    assert redis is not None  # noqa: S101 - a soak has one
    await _without(redis, draw.uniform(0.5, 5))


async def _without(redis: RedisServer, seconds: float) -> None:
    await asyncio.to_thread(redis.stop)
    try:
        await asyncio.sleep(seconds)
    finally:
        await asyncio.to_thread(redis.start)


async def model_raises(soak: Soak, draw: random.Random) -> None:
    await _arm(soak, draw, kind="raise", times=draw.randint(1, 3))


async def model_hangs(soak: Soak, draw: random.Random) -> None:
    await _arm(soak, draw, kind="hang", seconds=draw.uniform(2, 30))


async def worker_dies(soak: Soak, draw: random.Random) -> None:
    await _arm(soak, draw, kind="die")


async def _arm(soak: Soak, draw: random.Random, **fault: object) -> None:
    running = [server for server in soak.stage.servers if server.running]
    with contextlib.suppress(OSError):  # it has only just been started
        await draw.choice(running).control({"do": "arm", **fault})


async def server_killed(soak: Soak, draw: random.Random) -> None:
    await _end(soak, draw, signal.SIGKILL)


async def server_terminated(soak: Soak, draw: random.Random) -> None:
    await _end(soak, draw, signal.SIGTERM)


async def _end(soak: Soak, draw: random.Random, number: signal.Signals) -> None:
    """End one of the servers, unless one is down already; its successor comes at once."""
    if soak.down.locked():
        return
    await soak.down.acquire()
    server = draw.choice(list(soak.stage.servers))
    server.signal(number)

    async def succeed() -> None:
        try:
            await server.ended()
            try:
                await server.start()
            except RuntimeError as error:
                # It is told with what is left. A supervisor would start it again, too.
                print(error, file=sys.stderr, flush=True)
                soak.unmended += 1
                await server.start()
        finally:
            soak.down.release()

    soak.mend(succeed())


FAULTS: Final[Sequence[Fault]] = (
    connection_cut,
    all_connections_cut,
    half_open_connection,
    half_closed_connection,
    slow_network,
    reader_pauses,
    redis_restarts,
    model_raises,
    model_hangs,
    worker_dies,
    server_killed,
    server_terminated,
)
