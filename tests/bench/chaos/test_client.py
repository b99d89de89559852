"""The speaker against a server that keeps the protocol by hand."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from bench.chaos.client import Speaker

AUDIO = bytes(range(256)) * 40  # eight frames

Scene = Callable[[ServerConnection], Awaitable[None]]


class Stub:
    """Plays a scene for each connection, in order, and notes what it is told."""

    def __init__(self, *scenes: Scene) -> None:
        self._scenes = list(scenes)
        self.starts: list[dict[str, Any]] = []
        self.paths: list[str] = []
        self.audio: list[bytes] = []

    async def handle(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.paths.append(socket.request.path)
        self.starts.append(json.loads(await socket.recv()))
        self.audio.append(b"")
        await self._scenes.pop(0)(socket)

    async def listen(self, socket: ServerConnection, frames: int | None = None) -> None:
        """Take audio: so many frames, or all up to the ``stop``."""
        taken = 0
        while frames is None or taken < frames:
            frame = await socket.recv()
            if isinstance(frame, str):
                assert json.loads(frame) == {"type": "stop"}
                return
            self.audio[-1] += frame
            taken += 1


@asynccontextmanager
async def speaking(stub: Stub, **options: Any) -> AsyncIterator[Speaker]:
    async with serve(stub.handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield Speaker([f"ws://127.0.0.1:{port}"], "key", AUDIO, pace=None, **options)


async def tell(socket: ServerConnection, *events: dict[str, Any]) -> None:
    for event in events:
        await socket.send(json.dumps(event))


def ready(seq: int = 1, **more: Any) -> dict[str, Any]:
    return {"type": "ready", "seq": seq, "session": "s_1", "resume_token": "t_1", **more}


def final(seq: int, start: float, end: float, text: str) -> dict[str, Any]:
    return {"type": "final", "seq": seq, "segment": 0, "start": start, "end": end, "text": text}


async def test_an_undisturbed_stream() -> None:
    async def scene(socket: ServerConnection) -> None:
        await tell(socket, ready())
        await stub.listen(socket)
        await tell(socket, final(2, 0.0, 0.2, "one"), {"type": "done", "seq": 3})

    stub = Stub(scene)
    async with speaking(stub, targets=["pt"]) as speaker:
        record = await speaker.run(10)
    assert stub.audio == [AUDIO]
    assert stub.starts == [{"type": "start", "source": "en", "targets": ["pt"]}]
    assert (record.text, record.interruptions, record.broken_promises) == ("one", [], [])


async def test_it_goes_on_from_where_the_server_says() -> None:
    async def first(socket: ServerConnection) -> None:
        await tell(socket, ready(), final(2, 0.0, 0.04, "one"))
        await stub.listen(socket, frames=4)
        socket.transport.abort()

    async def second(socket: ServerConnection) -> None:
        await tell(socket, ready(2, resumed=True, audio_received=0.08, audio_received_bytes=2560))
        await stub.listen(socket)
        await tell(socket, final(3, 0.1, 0.2, "two"), {"type": "done", "seq": 4})

    stub = Stub(first, second)
    async with speaking(stub) as speaker:
        record = await speaker.run(10)
    assert stub.starts[1]["resume"] == {"token": "t_1", "received_seq": 2}
    assert stub.paths == ["/", "/?resume=1"]
    assert stub.audio[1] == AUDIO[2560:]
    assert record.text == "one two"
    assert len(record.interruptions) == 1
    assert 0 < record.recovery < 10
    assert (record.anew, record.broken_promises) == (0, [])


@pytest.mark.parametrize("told", [True, False])
async def test_where_nothing_can_be_resumed_it_begins_anew_after_the_last_final(told: bool) -> None:
    """``told``: the server says so; otherwise it has given no token."""

    async def first(socket: ServerConnection) -> None:
        await tell(socket, ready() if told else ready(resume_token=None))
        await tell(socket, final(2, 0.0, 0.08, "one"))
        await stub.listen(socket, frames=4)
        socket.transport.abort()

    async def second(socket: ServerConnection) -> None:
        if told:
            await tell(socket, {"type": "error", "seq": 1, "code": "resume_unknown"})
            assert "resume" not in json.loads(await socket.recv())
        await tell(socket, ready(2 if told else 1))
        await stub.listen(socket)
        seq = 3 if told else 2
        await tell(socket, final(seq, 0.0, 0.1, "two"), {"type": "done", "seq": seq + 1})

    stub = Stub(first, second)
    async with speaking(stub) as speaker:
        record = await speaker.run(10)
    assert stub.audio[1] == AUDIO[2560:]
    assert [(heard.start, heard.text) for heard in record.finals] == [(0.0, "one"), (0.08, "two")]
    assert (record.anew, record.broken_promises) == (1, [])


async def test_events_that_are_missing_or_come_twice_are_broken_promises() -> None:
    async def scene(socket: ServerConnection) -> None:
        await tell(socket, ready(), final(3, 0.0, 0.1, "one"), final(3, 0.0, 0.1, "one"))
        await stub.listen(socket)
        await tell(socket, {"type": "done", "seq": 4})

    stub = Stub(scene)
    async with speaking(stub) as speaker:
        record = await speaker.run(10)
    assert record.broken_promises == ["seq 3 after 1", "seq 3 after 3"]


async def test_one_that_reads_nothing_is_told_later() -> None:
    async def scene(socket: ServerConnection) -> None:
        await tell(socket, ready(), final(2, 0.0, 0.1, "one"))
        await stub.listen(socket)
        heard_all.set()
        await tell(socket, {"type": "done", "seq": 3})

    heard_all = asyncio.Event()
    stub = Stub(scene)
    async with speaking(stub) as speaker:
        speaker.reading.clear()
        running = asyncio.create_task(speaker.run(10))
        await heard_all.wait()
        assert speaker.record.finals == []
        speaker.reading.set()
        record = await running
    assert record.text == "one"


async def test_it_gives_up_in_the_end() -> None:
    async def scene(socket: ServerConnection) -> None:
        await tell(socket, ready())
        await stub.listen(socket)
        await socket.wait_closed()

    stub = Stub(scene)
    async with speaking(stub) as speaker:
        with pytest.raises(TimeoutError):
            await speaker.run(0.2)
    assert not speaker.record.done
