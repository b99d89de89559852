"""Streams that lose their connection, and go on. Models are fakes, all else is real."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from guards.principal import Tier
from guards.resume import MemoryResumeLog
from guards.usage import Amount, today
from tests.app.support import Fakes, admin, rest, running
from tests.streaming.harness import s16, speech

PHRASES = ["Hello.", "alpha bravo charlie delta", "Goodbye."]
DATA = s16(speech(*PHRASES))


class Client:
    """A client that keeps its place over several connections."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self.headers = {"Authorization": f"Bearer {key}"}
        self.events: list[dict[str, Any]] = []
        self.token = ""
        self.ready: dict[str, Any] = {}

    @property
    def seq(self) -> int:
        return len(self.events)

    @property
    def texts(self) -> list[str]:
        return [event["text"] for event in self.events if event["type"] == "final"]

    def connected(self) -> connect:
        returning = "?resume=1" if self.token else ""
        url = f"ws://{self.address}/v1/stream{returning}"
        return connect(url, additional_headers=self.headers)

    async def start(self, socket: ClientConnection, **fields: Any) -> dict[str, Any]:
        await socket.send(json.dumps({"type": "start", "source": "en", **fields}))
        self.ready = json.loads(await socket.recv())
        if self.ready["type"] == "ready" and not self.ready.get("resumed"):
            self.token = self.ready["resume_token"]
            self.events.append(self.ready)
        return self.ready

    async def resume(self, socket: ClientConnection) -> dict[str, Any]:
        return await self.start(socket, resume={"token": self.token, "received_seq": self.seq})

    def take(self, event: dict[str, Any]) -> None:
        assert event["seq"] == self.seq + 1
        self.events.append(event)

    async def until(self, socket: ClientConnection, kind: str) -> None:
        while self.events[-1]["type"] != kind:
            self.take(json.loads(await socket.recv()))

    async def speak(self, socket: ClientConnection, data: bytes) -> None:
        """Send audio in frames, so slowly that each thing said of it can be sent by itself."""
        for at in range(0, len(data), 3200):
            await socket.send(data[at : at + 3200])
            await asyncio.sleep(0.005)

    async def finish(self, socket: ClientConnection, data: bytes) -> None:
        await socket.send(data)
        await socket.send('{"type": "stop"}')
        for event in await rest(socket):
            self.take(event)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[str, Fakes]]:
    async with running(tmp_path, Fakes(tier=Tier.FREE)) as (address, fakes, _):
        yield address, fakes


async def used(fakes: Fakes) -> Amount:
    return await fakes.services.metering.usage.total(fakes.record.key_id, today(time.time()))


async def sessions(address: str) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(headers=admin()) as http:
        found: list[dict[str, Any]] = (await http.get(f"http://{address}/admin/sessions")).json()
        return found


async def test_a_lost_connection_costs_nothing(server: tuple[str, Fakes]) -> None:
    address, fakes = server
    client = Client(address, fakes.key)
    socket = await client.connected()
    await client.start(socket)
    await client.speak(socket, DATA[:40_001])
    await client.until(socket, "partial")
    socket.transport.abort()
    async with asyncio.timeout(5):
        while (found := await sessions(address)) and found[0]["connected"]:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    assert len(found) == 1
    # The one place that the key has is the session's own.
    assert await fakes.services.limiter.leases.leases.count(fakes.record.key_id) == 1
    async with client.connected() as socket:
        ready = await client.resume(socket)
        assert (ready["resumed"], ready["resume_token"]) == (True, client.token)
        assert ready["session"] == client.events[0]["session"]
        assert ready["seq"] == client.seq
        assert ready["audio_received_bytes"] == 40_001
        assert (await sessions(address))[0]["connected"]
        await client.finish(socket, DATA[ready["audio_received_bytes"] :])
    assert client.texts == PHRASES
    done = client.events[-1]
    assert done["type"] == "done"
    assert done["audio_seconds"] == pytest.approx(len(DATA) / 32_000, abs=1e-3)
    assert await used(fakes) == Amount(-(-len(DATA) // 32), 0, 1)
    assert await sessions(address) == []
    assert await fakes.services.limiter.leases.leases.count(fakes.record.key_id) == 0


async def test_events_that_did_not_arrive_come_again(server: tuple[str, Fakes]) -> None:
    address, fakes = server
    client = Client(address, fakes.key)
    async with client.connected() as socket:
        await client.start(socket)
        await client.speak(socket, DATA)
        await socket.send('{"type": "stop"}')
        sent = [json.loads(await socket.recv()) for _ in range(12)]
        socket.transport.abort()
    # Of these the client has seen one.
    client.take(sent[0])
    async with client.connected() as socket:
        ready = await client.resume(socket)
        assert ready["audio_received_bytes"] <= len(DATA)
        await client.finish(socket, DATA[ready["audio_received_bytes"] :])
    assert client.events[1:13] == sent
    assert client.texts == PHRASES
    assert client.events[-1]["type"] == "done"
    # It has ended, and its last events are still there for a while.
    client.events = client.events[:5]
    async with client.connected() as socket:
        assert (await client.resume(socket))["resumed"]
        for event in await rest(socket):
            client.take(event)
        assert socket.close_code == 1000
    assert client.texts == PHRASES


async def test_a_connection_that_is_still_open_is_taken_over(server: tuple[str, Fakes]) -> None:
    address, fakes = server
    client = Client(address, fakes.key)
    async with client.connected() as old:
        await client.start(old)
        await old.send(DATA[:30_000])
        await client.until(old, "partial")
        # Its one place is taken; who says that it comes back is let in.
        with pytest.raises(InvalidStatus) as refused:
            await Client(address, fakes.key).connected()
        assert refused.value.response.status_code == 429
        async with client.connected() as socket:
            ready = await client.resume(socket)
            await rest(old)
            assert (old.close_code, old.close_reason) == (4409, "taken_over")
            await client.finish(socket, DATA[ready["audio_received_bytes"] :])
    assert client.texts == PHRASES


async def test_who_says_it_comes_back_gets_no_other_place(server: tuple[str, Fakes]) -> None:
    address, fakes = server
    client = Client(address, fakes.key)
    async with client.connected() as socket:
        await client.start(socket)
        async with client.connected() as other:
            await other.send('{"type": "start"}')
            events = await rest(other)
            assert [event["code"] for event in events] == ["too_many_streams"]
            assert other.close_code == 4429
        assert len(await sessions(address)) == 1


async def test_a_token_is_of_use_to_nobody_else(server: tuple[str, Fakes]) -> None:
    address, fakes = server
    client = Client(address, fakes.key)
    other_key, _ = await fakes.services.keyring.issue(user_id="rui", tier=Tier.PRO)
    async with client.connected() as socket:
        await client.start(socket)
        thief = Client(address, other_key)
        thief.token = client.token
        async with thief.connected() as stolen:
            answer = await thief.resume(stolen)
            assert (answer["code"], answer["fatal"]) == ("resume_unknown", False)
            # Nothing is wrong with a new session.
            assert (await thief.start(stolen))["type"] == "ready"
        await client.finish(socket, DATA)
    assert client.texts == PHRASES


async def test_nobody_comes_back_and_everything_is_settled(tmp_path: Path) -> None:
    async with running(tmp_path, resume_seconds=0.2) as (address, fakes, _):
        client = Client(address, fakes.key)
        socket = await client.connected()
        await client.start(socket)
        await socket.send(DATA[:30_000])
        await client.until(socket, "speech_started")
        socket.transport.abort()
        async with asyncio.timeout(10):
            while len(fakes.services.streams) or len(fakes.services.sessions):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        assert await fakes.services.limiter.leases.leases.count(fakes.record.key_id) == 0
        assert (await used(fakes)).audio_ms == -(-30_000 // 32)
        log = fakes.services.resume
        assert isinstance(log, MemoryResumeLog)
        async with asyncio.timeout(10):
            while len(log):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        async with client.connected() as socket:
            assert (await client.resume(socket))["code"] == "resume_unknown"


async def test_without_resume_a_session_ends_with_its_connection(tmp_path: Path) -> None:
    async with running(tmp_path, resume_seconds=0) as (address, fakes, _):
        client = Client(address, fakes.key)
        async with client.connected() as socket:
            assert (await client.start(socket))["resume_token"] is None
        async with asyncio.timeout(5):
            while len(fakes.services.sessions):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)


async def test_the_token_is_in_no_log(
    server: tuple[str, Fakes], capsys: pytest.CaptureFixture[str]
) -> None:
    address, fakes = server
    client = Client(address, fakes.key)
    async with client.connected() as socket:
        await client.start(socket)
        socket.transport.abort()
    async with client.connected() as socket:
        await client.resume(socket)
        await client.finish(socket, DATA)
    seen = capsys.readouterr()
    assert client.token not in seen.out + seen.err
