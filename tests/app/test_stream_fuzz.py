"""Messages of every kind against sessions: none crashes, none is left over."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from inference.audio import PyAVContainerDecoder
from inference.fakes import FakeDetector, FakeRecognizer, FakeTranslator
from streaming.driver import Models, StreamDriver, Timeouts
from streaming.errors import ResumeUnknown
from streaming.ports import VoiceStream
from streaming.session import StreamSession
from streaming.session_config import SessionConfig
from tests.app.messages import Frame, frames
from tests.app.support import admin, languages, rest, running

_SESSIONS: Final = 1800
_AT_ONCE: Final = 20
_FRAMES: Final = 30
_INPUTS: Final = 20_000
_SOCKETS: Final = 60


class Client:
    """A client that sends what it was given and hangs up, unless it is told to go before."""

    def __init__(self, sent: list[Frame]) -> None:
        self._sent = iter(sent)
        self.taken = 0
        self.events: list[dict[str, Any]] = []
        self.closed: int | None = None

    async def receive(self) -> Frame | None:
        await asyncio.sleep(0)
        frame = next(self._sent, None)
        self.taken += frame is not None
        return frame

    async def send(self, data: bytes) -> None:
        assert self.closed is None, "an event after the close"
        self.events.append(json.loads(data))

    async def close(self, code: int, _: str) -> None:
        self.closed = code


class Counted(FakeDetector):
    """Knows how many voice streams are open."""

    def __init__(self) -> None:
        self.open_streams = 0

    def open(self) -> VoiceStream:
        stream = super().open()
        close = stream.close
        self.open_streams += 1

        def closing() -> None:
            self.open_streams -= 1
            close()

        stream.close = closing  # type: ignore[method-assign]  # to count
        return stream


def check(events: list[dict[str, Any]], closed: int | None, seen: Counter[str]) -> None:
    """What holds for the events of every session."""
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    for event in events:
        seen[event["code"] if event["type"] == "error" else event["type"]] += 1
        assert event.get("code") != "internal_error", event
    ends = [event["type"] == "done" or event.get("fatal") is True for event in events]
    assert not any(ends[:-1]), "something came after the end"
    if closed is not None:
        assert ends[-1]
        assert closed == 1000 or 4400 <= closed < 4500, closed


async def test_no_message_breaks_a_session() -> None:
    random = Random(5)  # noqa: S311 - the same messages each time
    detector, seen = Counted(), Counter[str]()
    recognizer, translator = FakeRecognizer(), FakeTranslator()
    known = languages(recognizer, translator)
    models = Models(
        recognizer=recognizer,
        translator=translator,
        detector=detector,
        open_container=PyAVContainerDecoder,
    )
    inputs = 0

    async def one(number: int) -> int:
        client = Client(frames(random, _FRAMES))
        config = SessionConfig(max_message_bytes=4096)
        session = StreamSession(f"s{number}", languages=known, model="fake", config=config)
        driver = StreamDriver(session, models, Timeouts())
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            group.create_task(driver.run())
            while await driver.serve(client) is not None:
                driver.refuse(ResumeUnknown("there is none"))
        check(client.events, client.closed, seen)
        return client.taken

    before = asyncio.all_tasks()
    for start in range(0, _SESSIONS, _AT_ONCE):
        inputs += sum(await asyncio.gather(*map(one, range(start, start + _AT_ONCE))))
        assert asyncio.all_tasks() == before, "a task was left behind"
        assert detector.open_streams == 0
    print(inputs, seen)
    assert inputs >= _INPUTS
    # Without these the messages would not reach what they are to break.
    for kind in ("ready", "final", "translation", "done", "invalid_json", "invalid_message"):
        assert seen[kind] > 0, kind
    for kind in ("unknown_type", "unknown_language", "invalid_audio", "message_too_large"):
        assert seen[kind] > 0, kind


async def test_no_message_breaks_the_server(tmp_path: Path) -> None:
    random = Random(6)  # noqa: S311 - the same messages each time
    seen = Counter[str]()

    async with (
        running(tmp_path, max_message_bytes=4096) as (address, _, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):

        async def one(_: int) -> None:
            url = f"ws://{address}/v1/stream"
            async with connect(url, additional_headers=admin()) as socket:
                reader = asyncio.create_task(rest(socket))
                with contextlib.suppress(ConnectionClosed):
                    for frame in frames(random, _FRAMES):
                        await socket.send(frame)
                    await socket.send('{"type": "start"}')
                    await socket.send('{"type": "stop"}')
                async with asyncio.timeout(30):
                    events = await reader
            assert socket.close_code is not None
            check(events, socket.close_code, seen)

        for start in range(0, _SOCKETS, _AT_ONCE):
            await asyncio.gather(*map(one, range(start, start + _AT_ONCE)))
        health: dict[str, Any] = {}
        async with asyncio.timeout(30):
            while health.get("sessions") != 0:
                health = (await http.get("/health")).json()
        # How busy the machine is decides whether that is "ok", not what the server was sent.
        assert health["ready"]
    print(seen)
    assert seen["ready"] > 0
    assert seen["done"] > 0
