"""Talking to a server, and reading what it then shows."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import httpx
import structlog
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from websockets.asyncio.client import connect

from app.logging import configure
from inference.fakes import Tones, silence
from tests.app.support import ADMIN_KEY, rest
from tests.streaming.harness import s16

FRAME: Final = 3200


@dataclass(frozen=True)
class Scrape:
    """What ``/metrics`` showed."""

    families: dict[str, Metric]
    text: str

    def value(self, sample: str, **labels: str) -> float:
        """A sample's value; 0 when there is none."""
        return sum(
            one.value
            for family in self.families.values()
            for one in family.samples
            if one.name == sample and labels.items() <= one.labels.items()
        )

    @property
    def names(self) -> set[str]:
        """Every name that can be asked for: of samples, and of families without any yet."""
        suffixes = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_sum", "_count"),
        }
        return {
            name + suffix
            for name, family in self.families.items()
            for suffix in suffixes.get(family.type, ("",))
        }


def parse(text: str) -> Scrape:
    return Scrape({one.name: one for one in text_string_to_metric_families(text)}, text)


async def scrape(address: str, key: str = ADMIN_KEY) -> Scrape:
    async with httpx.AsyncClient(base_url=f"http://{address}") as http:
        response = await http.get("/metrics", headers={"Authorization": f"Bearer {key}"})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/plain; version=")
    return parse(response.text)


async def caption(
    address: str, key: str, *phrases: str, headers: dict[str, str] | None = None, **start: Any
) -> list[dict[str, Any]]:
    """All events of a stream in which these are said."""
    tones = Tones()
    async with connect(
        f"ws://{address}/v1/stream",
        additional_headers={"Authorization": f"Bearer {key}", **(headers or {})},
    ) as socket:
        await socket.send(json.dumps({"type": "start", "source": "en", **start}))
        for phrase in phrases:
            for sound in (tones.speak(phrase), silence(1.0)):
                data = s16(sound)
                for at in range(0, len(data), FRAME):
                    await socket.send(data[at : at + FRAME])
                    await asyncio.sleep(0)
        await socket.send(json.dumps({"type": "stop"}))
        return await rest(socket)


@contextmanager
def logged_as_json(level: Literal["debug", "info"] = "info") -> Iterator[None]:
    """The log as JSON on stderr, for as long as the block lasts."""
    root = logging.getLogger()
    handlers, before = root.handlers[:], root.level
    configure(level=level, form="json")
    try:
        yield
    finally:
        root.handlers, root.level = handlers, before
        structlog.reset_defaults()
