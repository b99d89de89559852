"""A driver with a client at the other end of a connection in memory, and fake models."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from inference.fakes import (
    FakeContainerDecoder,
    FakeDetector,
    FakeRecognizer,
    FakeTranslator,
)
from streaming.driver import Models, StreamDriver, Timeouts
from streaming.listeners import Meter
from streaming.session import StreamSession
from tests.streaming.harness import FakeLanguages, s16, speech


class Client:
    """A client at the other end of a connection in memory."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self.events: list[dict[str, Any]] = []
        self.closed: tuple[int, str] | None = None
        self.reading = asyncio.Event()
        self.reading.set()
        self._news = asyncio.Condition()

    # the transport

    async def receive(self) -> str | bytes | None:
        return await self.frames.get()

    async def send(self, data: bytes) -> None:
        await self.reading.wait()
        async with self._news:
            self.events.append(json.loads(data))
            self._news.notify_all()

    async def close(self, code: int, reason: str) -> None:
        self.closed = (code, reason)

    # the client

    def say(self, **message: Any) -> None:
        self.frames.put_nowait(json.dumps(message))

    def speak(self, *phrases: str, frame: int = 3200) -> None:
        data = s16(speech(*phrases))
        for at in range(0, len(data), frame):
            self.frames.put_nowait(data[at : at + frame])

    async def stream(self, sound: Sequence[bytes]) -> None:
        """Send frames, and see them taken."""
        for frame in sound:
            self.frames.put_nowait(frame)
        while self.frames.qsize():  # noqa: ASYNC110 - nothing may come of them
            await asyncio.sleep(0.001)

    async def until(self, seen: Callable[[list[dict[str, Any]]], bool]) -> None:
        async with self._news:
            await self._news.wait_for(lambda: seen(self.events))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def texts(self) -> list[str]:
        return [event["text"] for event in self.of("final")]


class Setup:
    def __init__(
        self,
        timeouts: Timeouts | None = None,
        meter: Meter | None = None,
        clock: Callable[[], float] = time.monotonic,
        pressed: Callable[[], bool] = lambda: False,
        **models: Any,
    ) -> None:
        self.client = Client()
        self.recognizer = FakeRecognizer()
        self.translator = FakeTranslator()
        parts: dict[str, Any] = {
            "recognizer": self.recognizer,
            "translator": self.translator,
            "detector": FakeDetector(),
            "open_container": FakeContainerDecoder,
        }
        session = StreamSession("s", languages=FakeLanguages(), model="fake")
        self.driver = StreamDriver(
            session,
            Models(**{**parts, **models}),
            timeouts,
            meter,
            clock=clock,
            pressed=pressed,
        )

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.driver.run())
            group.create_task(self.driver.serve(self.client))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        before = asyncio.all_tasks()
        task = asyncio.create_task(self._run())
        async with asyncio.timeout(20):
            try:
                yield task
            finally:
                if not task.done():
                    self.client.frames.put_nowait(None)
                await task
        assert asyncio.all_tasks() == before, "a task was left behind"
