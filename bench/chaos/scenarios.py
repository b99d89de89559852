"""The faults: each of them strikes in the middle of what several speakers say.

Every function takes a :class:`~bench.chaos.stage.Stage` that has rehearsed and returns what came
of it. The servers are as before when it returns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from bench.chaos.client import Speaker
from bench.chaos.proxy import Proxy
from bench.chaos.servers import stream_url
from bench.chaos.stage import Outcome, Stage

AWAY: Final = 4.0
"""Seconds that Redis, or a reader, is away."""

Scenario = Callable[[Stage], Awaitable[Outcome]]


async def nothing(stage: Stage) -> Outcome:
    """The same as any other scenario, without a fault: what the comparison finds in nothing."""

    async def strike(_: Sequence[Speaker]) -> None:
        return

    return await stage.suffer("nothing", strike, stage.speakers([stage.servers[0].stream_url]))


async def redis_killed(stage: Stage) -> Outcome:
    """Redis is killed, and started again on what it had written."""
    redis = stage.redis
    assert redis is not None  # noqa: S101 - a programming error

    async def strike(_: Sequence[Speaker]) -> None:
        await asyncio.to_thread(redis.stop)
        try:
            await asyncio.sleep(AWAY)
        finally:
            await asyncio.to_thread(redis.start)

    speakers = stage.speakers([stage.servers[0].stream_url])
    return await stage.suffer("Redis killed for 4 s", strike, speakers)


async def connections_cut(stage: Stage) -> Outcome:
    """The network resets every connection."""
    return await _network(stage, "connections reset", lambda proxy: proxy.cut())


async def half_open(stage: Stage) -> Outcome:
    """The network forwards nothing any more, and says nothing of it to either side."""
    return await _network(stage, "half-open connections", lambda proxy: proxy.freeze())


async def half_closed(stage: Stage) -> Outcome:
    """Servers are told that clients send no more; clients are told nothing."""
    return await _network(stage, "half-closed connections", lambda proxy: proxy.half_close())


async def reader_pauses(stage: Stage) -> Outcome:
    """Clients go on sending and stop reading for a while."""

    async def strike(speakers: Sequence[Speaker]) -> None:
        for speaker in speakers:
            speaker.reading.clear()
        await asyncio.sleep(AWAY)
        for speaker in speakers:
            speaker.reading.set()

    speakers = stage.speakers([stage.servers[0].stream_url])
    return await stage.suffer("clients read nothing for 4 s", strike, speakers)


async def worker_raises(stage: Stage) -> Outcome:
    """The model fails on a few batches."""
    return await _worker(stage, "model raises", {"kind": "raise", "times": 3})


async def worker_out_of_memory(stage: Stage) -> Outcome:
    """The model finds no memory for a batch."""
    return await _worker(stage, "model out of memory", {"kind": "memory"})


async def worker_dies(stage: Stage) -> Outcome:
    """A worker's thread ends in the middle of a batch."""
    return await _worker(stage, "worker thread dies", {"kind": "die"})


async def worker_hangs(stage: Stage) -> Outcome:
    """A batch does not come back."""
    return await _worker(stage, "model hangs for 30 s", {"kind": "hang", "seconds": 30})


async def terminated(stage: Stage) -> Outcome:
    """A server is asked to leave (SIGTERM) while another is there."""
    codes: list[int] = []

    async def strike(_: Sequence[Speaker]) -> None:
        codes.append(await stage.servers[0].stop())

    outcome = await _server_ends(stage, "SIGTERM", strike)
    outcome.saw[f"exit code {codes[0]}"] += 1
    return outcome


async def killed(stage: Stage) -> Outcome:
    """A server is killed (SIGKILL) while another is there."""

    async def strike(_: Sequence[Speaker]) -> None:
        await stage.servers[0].kill()

    return await _server_ends(stage, "SIGKILL", strike)


FAULTS: Final[Mapping[str, Scenario]] = {
    scenario.__name__: scenario
    for scenario in (
        redis_killed,
        worker_raises,
        worker_out_of_memory,
        worker_dies,
        worker_hangs,
        reader_pauses,
        connections_cut,
        half_open,
        half_closed,
        terminated,
        killed,
    )
}
"""Those that a pair of servers on one Redis goes through, by name."""


async def _network(stage: Stage, fault: str, harm: Callable[[Proxy], int]) -> Outcome:
    async with Proxy([stage.servers[0].port]) as proxy:

        async def strike(speakers: Sequence[Speaker]) -> None:
            if harm(proxy) != len(speakers):
                raise RuntimeError("some were not connected")

        speakers = stage.speakers([stream_url(proxy.port)])
        return await stage.suffer(fault, strike, speakers)


async def _worker(stage: Stage, name: str, fault: Mapping[str, object]) -> Outcome:
    server = stage.servers[0]
    before = (await server.control({"do": "release"}))["injected"]

    async def strike(_: Sequence[Speaker]) -> None:
        await server.control({"do": "arm", **fault})

    try:
        speakers = stage.speakers([server.stream_url])
        outcome = await stage.suffer(name, strike, speakers)
    finally:
        after = (await server.control({"do": "release"}))["injected"]
    if after == before:
        raise RuntimeError("the fault did not happen")
    return outcome


async def _server_ends(
    stage: Stage, fault: str, strike: Callable[[Sequence[Speaker]], Awaitable[None]]
) -> Outcome:
    """All speak to the first server, which ends; the others are there to go on with."""
    addresses = [server.stream_url for server in stage.servers]
    server = stage.servers[0]
    try:
        return await stage.suffer(fault, strike, stage.speakers(addresses))
    finally:
        await server.start()
        await stage.warm(server)
