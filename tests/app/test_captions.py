from __future__ import annotations

import asyncio
import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console, Group

from app.cli.captions import Lines, LiveView
from app.cli.client import stream_address
from app.cli.sources import FRAME, paced, pcm
from inference.fakes import silence


def final(segment: int, text: str) -> dict[str, Any]:
    return {"type": "final", "segment": segment, "text": text}


def translation(segment: int, text: str, *, done: bool) -> dict[str, Any]:
    return {
        "type": "translation",
        "segment": segment,
        "target": "pt",
        "text": text,
        "final": done,
    }


def partial(stable: str, unstable: str) -> dict[str, Any]:
    return {"type": "partial", "segment": 0, "stable": stable, "unstable": unstable}


def test_lines_are_finals_only_and_notices_go_elsewhere() -> None:
    out, notices = io.StringIO(), io.StringIO()
    show = Lines(out, notices)
    for event in (
        partial("Good", " mor"),
        translation(0, "Bom", done=False),
        final(0, "Good morning."),
        translation(0, "Bom dia.", done=True),
        {"type": "warning", "code": "lagging", "message": "late"},
        {"type": "error", "code": "x", "message": "fatal ones are the command's", "fatal": True},
        {"type": "done"},
    ):
        show(event)
    assert out.getvalue() == "Good morning.\n[pt] Bom dia.\n"
    assert notices.getvalue() == "warning: late\n"


def test_the_live_view_waits_for_the_translation_and_then_scrolls() -> None:
    out = io.StringIO()
    live: list[Group] = []
    show = LiveView(Console(file=out, width=80), live.append, targets=1)

    def shown() -> list[str]:
        return [str(line) for line in live[-1].renderables]

    show(partial("Good", " mor"))
    assert shown() == ["Good mor"]
    show(translation(0, "Bom", done=False))
    show(final(0, "Good morning."))
    assert shown() == ["Good morning.", "  pt  Bom"]
    assert out.getvalue() == ""
    show(translation(0, "Bom dia.", done=True))
    assert shown() == []
    assert out.getvalue().split("\n") == ["Good morning.", "  pt  Bom dia.", ""]


def test_the_live_view_does_not_wait_for_ever() -> None:
    out = io.StringIO()
    show = LiveView(Console(file=out, width=80), lambda _: None, targets=1)
    for number in range(5):
        show(final(number, f"Number {number}."))
    assert out.getvalue().split("\n")[:2] == ["Number 0.", "Number 1."]
    show({"type": "done"})
    assert "Number 4." in out.getvalue()


@pytest.mark.parametrize(
    ("server", "address"),
    [
        ("ws://host:1", "ws://host:1/v1/stream"),
        ("https://host/prefix/", "wss://host/prefix/v1/stream"),
        ("ws://host/v1/stream", "ws://host/v1/stream"),
    ],
)
def test_addresses(server: str, address: str) -> None:
    assert stream_address(server) == address


async def test_frames_are_paced_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        nonlocal now
        slept.append(seconds)
        now += seconds + 0.01  # every sleep is a little late

    monkeypatch.setattr(asyncio, "sleep", sleep)
    frames = [frame async for frame in paced(silence(0.1), lambda: now)]
    assert [len(frame) for frame in frames] == [FRAME * 2, FRAME * 2, FRAME]
    # The lateness is made up for, not added up.
    assert slept == pytest.approx([0.04, 0.03, 0.01])


def test_pcm_is_clipped() -> None:
    assert pcm(np.array([0.0, 1.0, -2.0], np.float32)) == b"\x00\x00\xff\x7f\x01\x80"
