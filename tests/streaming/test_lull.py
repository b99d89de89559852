"""Sound that is kept back while the server is pressed: not a sample is lost, and order is kept."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from inference.fakes import silence
from streaming import lull
from streaming.lull import Lull, until_turn
from tests.streaming.harness import Harness, s16

FRAME = s16(silence(0.25))


class Listener:
    """A session of a pressed server, and what it is given to listen to."""

    def __init__(self) -> None:
        self.harness = Harness()
        self.harness.start(source="en")
        self.pressed = True
        self.given: list[bytes] = []
        self.lull = Lull(self.harness.session, lambda: self.pressed, self._listen)

    def _listen(self, sound: bytes) -> None:
        self.given.append(sound)
        self.harness.send(sound)


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lull, "_KEPT_SECONDS", 0.02)


@pytest.mark.usefixtures("quickly")
async def test_who_says_nothing_is_listened_to_by_the_second() -> None:
    listener = Listener()
    assert [listener.lull.keep(FRAME) for _ in range(4)] == [True] * 4
    assert listener.given == []
    await asyncio.sleep(0.1)
    assert listener.given == [FRAME * 4]
    assert listener.lull.keep(FRAME)
    await asyncio.sleep(0.1)
    assert listener.given == [FRAME * 4, FRAME]
    assert listener.harness.session.audio_samples == pytest.approx(1.25 * 16_000, abs=512)


async def test_nothing_is_kept_while_there_is_time() -> None:
    listener = Listener()
    listener.pressed = False
    assert not listener.lull.keep(FRAME)
    assert listener.given == []


async def test_what_follows_what_is_kept_is_kept_in_order() -> None:
    listener = Listener()
    assert listener.lull.keep(b"a" * 1024)
    listener.pressed = False
    assert listener.lull.keep(b"b" * 1024)
    listener.lull.release()
    listener.lull.release()
    assert listener.given == [b"a" * 1024 + b"b" * 1024]


async def test_who_spoke_lately_is_listened_to_at_once() -> None:
    listener = Listener()
    listener.harness.speak("Goodbye.")
    assert not listener.lull.keep(FRAME), "the final is not there yet"
    listener.harness.settle()
    assert listener.harness.texts == ["Goodbye."]
    silent = 0
    while not listener.lull.keep(FRAME):
        listener.harness.send(FRAME)
        silent += 1
    assert silent * 0.25 == pytest.approx(5.0, abs=1.0)
    listener.lull.drop()


async def test_sound_that_is_not_searched_yet_is_nobody_who_speaks() -> None:
    listener = Listener()
    hum = s16(np.full(4000, 0.001, dtype=np.float32))
    listener.harness.hold_detection = True
    listener.harness.send(hum)
    assert not listener.harness.session.at_rest
    assert listener.lull.keep(hum)
    listener.lull.drop()


async def test_of_a_sender_faster_than_speech_little_is_kept() -> None:
    listener = Listener()
    piece = s16(silence(1.5))
    kept = sum(listener.lull.keep(piece) for _ in range(20))
    assert kept == 20
    assert len(listener.given) >= 8
    assert max(map(len, listener.given)) <= 128 * 1024
    listener.lull.release()
    assert b"".join(listener.given) == piece * 20


@pytest.mark.usefixtures("quickly")
async def test_what_is_dropped_is_not_listened_to_later() -> None:
    listener = Listener()
    assert listener.lull.keep(FRAME)
    listener.lull.drop()
    await asyncio.sleep(0.1)
    assert listener.given == []


async def test_what_is_kept_is_listened_to_at_the_session_s_turn() -> None:
    listener = Listener()
    assert listener.lull.keep(FRAME)
    timer = listener.lull._timer
    assert timer is not None
    assert until_turn(listener.harness.session.id, timer.when() - 0.5) == pytest.approx(
        0.5, abs=0.01
    )
    listener.lull.drop()


def test_turns_are_spread_over_the_second() -> None:
    waits = [until_turn(f"session {number}", 1234.5) for number in range(400)]
    assert all(0 < wait <= 1 for wait in waits)
    for part in range(4):
        assert sum(part / 4 < wait <= (part + 1) / 4 for wait in waits) > 50


@pytest.mark.parametrize("session", ["a", "b", "c"])
def test_a_turn_comes_once_a_second(session: str) -> None:
    turn = 1234.5 + until_turn(session, 1234.5)
    assert until_turn(session, turn - 0.25) == pytest.approx(0.25)
    assert until_turn(session, turn + 0.25) == pytest.approx(0.75)
