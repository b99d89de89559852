"""A stream whose server dies, or goes away, goes on with another one. On a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.client import caption
from guards.principal import Tier
from guards.usage import today
from tests.app.server_process import address_of, start
from tests.app.support import Fakes, rest, running
from tests.app.test_resume import DATA, PHRASES, Client
from tests.app.test_shared_state import PEPPER, issued, processes, shared, used
from tests.redis_server import RedisServer, running_redis
from tests.streaming.harness import s16, speech

pytestmark = pytest.mark.redis

FRAME = 1_280


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path / "redis") as server:
        yield server


class Proxy:
    """Leads connections to one server, or to the next when that is gone."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._lead, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        return f"ws://127.0.0.1:{port}"

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for address in self.addresses:
            host, _, port = address.partition(":")
            try:
                there = await asyncio.open_connection(host, int(port))
            except OSError:
                continue
            await asyncio.gather(self._copy(reader, there[1]), self._copy(there[0], writer))
            return
        writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()


async def spoken(data: bytes, at: dict[int, Callable[[], None]]) -> AsyncIterator[bytes]:
    """Audio five times as fast as it was spoken; at some frames something happens."""
    for number, place in enumerate(range(0, len(data), FRAME)):
        if number in at:
            at[number]()
        await asyncio.sleep(FRAME / 32_000 / 5)
        yield data[place : place + FRAME]


async def captioned(
    server: str, key: str, data: bytes, at: dict[int, Callable[[], None]]
) -> list[dict[str, Any]]:
    """What the command line's own client shows."""
    events: list[dict[str, Any]] = []
    async with asyncio.timeout(90):
        source = spoken(data, at)
        await caption(source, events.append, server=server, key=key, language="en", targets=["pt"])
    return events


def said(events: list[dict[str, Any]]) -> list[str]:
    return [event["text"] for event in events if event["type"] == "final"]


def translations(events: list[dict[str, Any]]) -> list[int]:
    return [
        event["segment"] for event in events if event["type"] == "translation" and event["final"]
    ]


MANY = ["Hello.", "alpha bravo charlie delta", "echo foxtrot golf", "hotel india", "Goodbye."]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("frame", [20, 55, 90])
async def test_a_server_goes_and_nothing_is_lost_or_doubled(
    tmp_path: Path, redis: RedisServer, number: signal.Signals, frame: int
) -> None:
    data = s16(speech(*MANY))
    key, _ = await issued(tmp_path, redis, tier=Tier.PRO)
    async with (
        processes(tmp_path, redis, 2) as ((first, one), (_, other)),
        Proxy(one, other) as url,
    ):
        events = await captioned(url, key, data, {frame: lambda: first.send_signal(number)})
        readies = [event for event in events if event["type"] == "ready"]
        assert [ready.get("resumed", False) for ready in readies] == [False, True]
        assert len({ready["session"] for ready in readies}) == 1
        assert said(events) == MANY
        assert len(translations(events)) == len(set(translations(events))) == len(MANY)
        numbers = [event["seq"] for event in events if "seq" in event and event not in readies[1:]]
        assert numbers == list(range(1, len(numbers) + 1))
        done = events[-1]
        assert done["type"] == "done"
        assert done["segments"] == len(MANY)
        # Audio that was sent twice is counted once.
        seconds = -(-len(data) // 32) / 1000
        characters = done["usage"]["characters"]
        assert (await used(other, key, until=(seconds, characters)))["requests"] == 1
        if number is signal.SIGTERM:
            assert await first.wait() == 0
            (warning,) = [event for event in events if event.get("code") == "draining"]
            assert warning["details"]["resume"] is True


async def test_of_two_servers_one_has_the_session(tmp_path: Path, redis: RedisServer) -> None:
    options = shared(redis)
    async with (
        running(tmp_path / "one", Fakes(tier=Tier.FREE), **options) as (one, fakes, _),
        running(tmp_path / "two", Fakes(), **options) as (two, others, _),
    ):
        client = Client(one, fakes.key)
        async with client.connected() as old:
            await client.start(old)
            await old.send(DATA[:60_000])
            await client.until(old, "final")
            client.address = two
            async with client.connected() as socket:
                ready = await client.resume(socket)
                assert ready["resumed"]
                # The first server has not heard of it; what it sends now is not the session's.
                await old.send(DATA[60_000:])
                await old.send('{"type": "stop"}')
                late = await rest(old)
                assert old.close_code == 4409
                assert not said(late)
                await client.finish(socket, DATA[ready["audio_received_bytes"] :])
        assert client.texts == PHRASES
        assert await others.services.limiter.leases.leases.count(fakes.record.key_id) == 0
        total = await others.services.metering.usage.report(today(time.time()), today(time.time()))
        (mine,) = [row for row in total if row.key_id == fakes.record.key_id]
        assert mine.amount.audio_ms == -(-len(DATA) // 32)


async def test_back_at_a_server_that_had_it_before(tmp_path: Path, redis: RedisServer) -> None:
    options = shared(redis)
    async with (
        running(tmp_path / "one", Fakes(), **options) as (one, fakes, _),
        running(tmp_path / "two", Fakes(), **options) as (two, _, _),
    ):
        client = Client(one, fakes.key)
        data = s16(speech(*MANY))
        for hop in range(8):
            client.address = (one, two)[hop % 2]
            socket = await client.connected()
            ready = await (client.resume(socket) if hop else client.start(socket))
            assert ready["type"] == "ready", ready
            at = ready.get("audio_received_bytes", 0)
            await socket.send(data[at : (hop + 1) * len(data) // 10])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.02 * (hop % 4)):
                    while True:
                        client.take(json.loads(await socket.recv()))
            if hop % 3:
                socket.transport.abort()
        async with client.connected() as socket:
            ready = await client.resume(socket)
            await client.finish(socket, data[ready["audio_received_bytes"] :])
        assert client.texts == MANY


async def test_a_container_can_only_go_on_where_it_was(tmp_path: Path, redis: RedisServer) -> None:
    options = shared(redis)
    async with (
        running(tmp_path / "one", Fakes(), **options) as (one, fakes, _),
        running(tmp_path / "two", Fakes(), **options) as (two, _, _),
    ):
        client = Client(one, fakes.key)
        async with client.connected() as socket:
            await client.start(socket, encoding="webm")
            client.address = two
            async with client.connected() as other:
                answer = await client.resume(other)
                assert (answer["code"], answer["fatal"]) == ("resume_impossible", False)
                assert (await client.start(other, encoding="webm"))["type"] == "ready"


async def test_a_restart_of_the_one_server_there_is(tmp_path: Path) -> None:
    """Kept on the disk, without Redis."""
    environment = {"SURTITLE_RESUME_LOG": "disk", "SURTITLE_ADMIN_KEY": "an-admin-key-of-this-test"}
    first = await start(tmp_path, **environment)
    second: asyncio.subprocess.Process | None = None
    try:
        client = Client(await address_of(first), environment["SURTITLE_ADMIN_KEY"])
        socket = await client.connected()
        await client.start(socket)
        await socket.send(DATA[:60_000])
        await client.until(socket, "final")
        first.kill()
        await first.wait()
        second = await start(tmp_path, **environment)
        client.address = await address_of(second)
        async with client.connected() as socket:
            ready = await client.resume(socket)
            assert ready["resumed"]
            await client.finish(socket, DATA[ready["audio_received_bytes"] :])
        assert client.texts == PHRASES
    finally:
        for process in filter(None, (first, second)):
            if process.returncode is None:
                process.kill()
            await process.communicate()


async def test_redis_holds_no_token(tmp_path: Path, redis: RedisServer) -> None:
    import redis.asyncio as library

    async with running(tmp_path, **shared(redis)) as (address, fakes, _):
        client = Client(address, fakes.key)
        async with client.connected() as socket:
            await client.start(socket)
            await socket.send(DATA)
            await client.until(socket, "final")
            connection = library.Redis.from_url(redis.url)
            keys = [key async for key in connection.scan_iter()]
            assert any(b":resume:" in key for key in keys)
            held = b"".join([key + (await connection.dump(key) or b"") for key in keys])
            await connection.aclose()
    assert client.token.encode() not in held
    assert PEPPER.encode() not in held
