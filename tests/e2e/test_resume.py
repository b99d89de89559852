"""Real speech over a network and servers that break: nothing is lost, nothing said twice."""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest

from app.cli.client import caption
from app.cli.sources import paced
from streaming.types import Audio
from tests.e2e.proxy import Proxy
from tests.e2e.server import Server, serving
from tests.redis_server import running_redis
from tests.speech import audioeval_clips

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
GAP = np.zeros(16_000, dtype=np.float32)


def said() -> tuple[Audio, str]:
    clips = audioeval_clips("en")
    audio = np.concatenate([part for clip in clips * 2 for part in (clip.audio(), GAP)])
    return audio, " ".join(clip.text or "" for clip in clips * 2)


async def spoken(audio: Audio, at: dict[float, Callable[[], None]]) -> AsyncIterator[bytes]:
    """Audio as it was spoken; at some seconds something happens."""
    seconds = 0.0
    async for frame in paced(audio):
        for due in [due for due in at if due <= seconds]:
            await asyncio.to_thread(at.pop(due))
        seconds += len(frame) / 32_000
        yield frame


async def captioned(
    proxy: Proxy, server: Server, audio: Audio, at: dict[float, Callable[[], None]]
) -> list[dict[str, Any]]:
    """What `surtitle stream` shows."""
    events: list[dict[str, Any]] = []
    await caption(
        spoken(audio, at),
        events.append,
        server=f"ws://127.0.0.1:{proxy.port}",
        key=server.key,
        language="en",
        targets=["pt"],
    )
    return events


def letters(text: str) -> str:
    """Without spaces, and with numbers in words: that one processor's "1, 2" is "1-2", or 12, on
    another is no fault.
    """
    text = re.sub(r"\W", "", text.lower())
    return re.sub(r"10|\d", lambda figure: NUMBERS[int(figure.group())], text)


def check(events: list[dict[str, Any]], text: str, *, resumed: int) -> None:
    readies = [event for event in events if event["type"] == "ready"]
    assert [ready.get("resumed", False) for ready in readies] == [False] + [True] * resumed
    finals = [event for event in events if event["type"] == "final"]
    heard = " ".join(event["text"] for event in finals)
    wrong = 100 * jiwer.cer(letters(text), letters(heard))
    print(f"{wrong:.1f} % of the letters are wrong: {heard}")
    assert wrong <= 5
    starts = [(event["start"], event["end"]) for event in finals]
    assert all(one[1] <= two[0] + 0.01 for one, two in itertools.pairwise(starts))
    translated = [e["segment"] for e in events if e["type"] == "translation" and e["final"]]
    assert sorted(translated) == [event["segment"] for event in finals]
    seqs = [e["seq"] for e in events if "seq" in e and e not in readies[1:]]
    assert seqs == list(range(1, len(seqs) + 1))
    assert events[-1]["type"] == "done"
    assert events[-1]["segments"] == len(finals)


async def test_a_network_that_breaks_again_and_again(server: Server) -> None:
    audio, text = said()
    with Proxy(server.port).running() as proxy:
        events = await captioned(
            proxy, server, audio, {1.5: proxy.cut, 5.0: proxy.cut, 9.2: proxy.cut}
        )
    check(events, text, resumed=3)


@pytest.mark.redis
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_a_server_dies_or_is_told_to_stop(tmp_path: Path, number: signal.Signals) -> None:
    audio, text = said()
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(tmp_path / "redis"))
        servers = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            shared = {"REDIS_URL": redis.url, "SURTITLE_PEPPER": "a pepper for both of the servers"}
            servers.append(stack.enter_context(serving(tmp_path / name, **shared)))
        proxy = stack.enter_context(Proxy(*(one.port for one in servers)).running())
        first = servers[0].process
        events = await captioned(proxy, servers[0], audio, {5.0: lambda: first.send_signal(number)})
        check(events, text, resumed=1)
        if number is signal.SIGTERM:
            assert await asyncio.to_thread(first.wait, 30) == 0
            assert any(event.get("code") == "draining" for event in events)
