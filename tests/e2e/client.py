"""A client of the native protocol, as plain as can be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import websockets

from streaming.types import SAMPLE_RATE, Audio
from tests.e2e.server import Server


@dataclass(slots=True)
class Session:
    """What a client saw."""

    events: list[dict[str, Any]] = field(default_factory=list)
    close_code: int | None = None

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def finals(self) -> list[str]:
        return [event["text"] for event in self.of("final")]

    @property
    def text(self) -> str:
        return " ".join(self.finals)

    def translated(self, target: str) -> list[str]:
        return [
            event["text"]
            for event in self.of("translation")
            if event["final"] and event["target"] == target
        ]


def s16(audio: Audio) -> bytes:
    return np.round(np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes()


def frames(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def assert_well_formed(session: Session) -> None:
    """What holds for every session that was stopped in order."""
    events = session.events
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "ready"
    assert events[-1]["type"] == "done"
    assert session.close_code == 1000
    stable: dict[int, str] = {}
    for event in events:
        if event["type"] == "partial":
            assert event["stable"].startswith(stable.get(event["segment"], ""))
            stable[event["segment"]] = event["stable"]
        elif event["type"] == "final":
            assert event["text"].startswith(stable.get(event["segment"], ""))
    segments = [event["segment"] for event in session.of("final")]
    assert segments == sorted(set(segments))


async def stream(
    server: Server,
    data: bytes,
    *,
    frame: int = 32_000,
    pace: float | None = None,
    stop: bool = True,
    **start: Any,
) -> Session:
    """Send audio and collect every event until the close.

    ``pace``: bytes per second, or None for as fast as the server reads.
    """
    session = Session()
    async with websockets.connect(
        server.stream_url, additional_headers=server.headers, max_size=None
    ) as socket:
        await socket.send(json.dumps({"type": "start", **start}))

        async def send() -> None:
            clock = asyncio.get_running_loop()
            began, sent = clock.time(), 0
            for part in frames(data, frame):
                await socket.send(part)
                sent += len(part)
                if pace is not None:
                    await asyncio.sleep(max(0.0, began + sent / pace - clock.time()))
            if stop:
                await socket.send('{"type": "stop"}')

        sender = asyncio.create_task(send())
        try:
            async for message in socket:
                session.events.append(json.loads(message))
        except websockets.ConnectionClosedError:
            pass
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
        session.close_code = socket.close_code
    return session


REAL_TIME = SAMPLE_RATE * 2
"""Bytes per second of 16 kHz s16le spoken live."""
