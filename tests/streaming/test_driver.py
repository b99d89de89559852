"""The driver: real asyncio, fake models, a client in memory."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise

import pytest

from inference.fakes import FakeContainerDecoder
from streaming.driver import Timeouts
from streaming.errors import ModelUnavailable, Overloaded, RecognitionFailed, SessionEnded
from streaming.types import Probabilities, Windows
from streaming.wire import WarningEvent
from tests.streaming.connected import Setup
from tests.streaming.harness import s16, speech

PHRASES = ("Hello. Good morning.", "alpha bravo charlie delta", "Goodbye.")


async def test_a_session_from_start_to_done() -> None:
    setup = Setup()
    client = setup.client
    async with setup.running() as task:
        client.say(type="start", source="en", targets=["pt"])
        client.speak(*PHRASES)
        client.say(type="stop")
        await task
    assert client.texts == list(PHRASES)
    assert [event["seq"] for event in client.events] == list(range(1, len(client.events) + 1))
    finals = [event for event in client.of("translation") if event["final"]]
    assert [event["text"] for event in finals] == [
        "[pt] HELLO. [pt] GOOD MORNING.",
        "[pt] ALPHA BRAVO CHARLIE DELTA",
        "[pt] GOODBYE.",
    ]
    assert client.events[-1]["type"] == "done"
    assert client.closed == (1000, "")


@pytest.mark.parametrize("size", [1280, 2])
async def test_sound_that_waits_is_taken_by_half_a_second_a_turn(size: int) -> None:
    """Small frames are no reason to fall further behind, and others get their turns."""
    setup = Setup()
    client, session = setup.client, setup.driver.session
    frames = 160
    turns = 0
    async with setup.running():
        client.say(type="start", source="en")
        await client.until(bool)
        for _ in range(frames):
            client.frames.put_nowait(bytes(size))
        while session.audio_bytes < frames * size:
            await asyncio.sleep(0)
            turns += 1
    assert frames * max(size, 1024) / 16_384 <= turns + 1
    assert turns <= 3 * frames * max(size, 1024) / 16_384


async def test_a_container_is_decoded_as_it_arrives() -> None:
    setup = Setup()
    client = setup.client
    async with setup.running() as task:
        client.say(type="start", source="en", encoding="webm")
        data = FakeContainerDecoder.wrap(speech(*PHRASES))
        for at in range(0, len(data), 4999):
            client.frames.put_nowait(data[at : at + 4999])
        client.say(type="finalize", marker="m")
        client.say(type="stop")
        await task
    assert client.texts == list(PHRASES)
    assert client.of("marker")[0]["marker"] == "m"
    assert client.closed == (1000, "")


async def test_a_torn_container_still_ends_with_everything_said() -> None:
    setup = Setup()
    client = setup.client
    async with setup.running() as task:
        client.say(type="start", source="en", encoding="opus")
        client.frames.put_nowait(FakeContainerDecoder.wrap(speech("alpha bravo")) + b"\x01")
        client.say(type="stop")
        await task
    assert client.texts == ["alpha bravo"]
    assert [event["code"] for event in client.of("error")] == ["invalid_audio"]
    assert client.events[-1]["type"] == "done"


async def test_a_client_that_goes_away_takes_its_jobs_along() -> None:
    setup = Setup()
    client = setup.client
    setup.recognizer.gate.shut()
    async with setup.running() as task:
        client.say(type="start", source="en")
        client.speak("alpha bravo")
        await setup.recognizer.gate.arrived()
        client.frames.put_nowait(None)
        await task
    assert client.closed is None
    assert setup.recognizer.gate.waiting == 0


async def test_a_full_queue_delays_finals_and_loses_none() -> None:
    setup = Setup(Timeouts(overload=0.001))
    client = setup.client
    setup.recognizer.fail_next(*[Overloaded("full")] * 5)
    async with setup.running() as task:
        client.say(type="start", source="en", interim=False)
        client.speak("alpha bravo")
        client.say(type="stop")
        await task
    assert client.texts == ["alpha bravo"]
    assert client.of("error") == []


async def test_a_failed_final_is_asked_for_again() -> None:
    setup = Setup()
    client = setup.client
    setup.recognizer.fail_next(RecognitionFailed("once"))
    async with setup.running() as task:
        client.say(type="start", source="en", interim=False)
        client.speak("alpha bravo")
        client.say(type="stop")
        await task
    assert client.texts == ["alpha bravo"]


async def test_the_end_from_outside_sends_what_is_owed_first() -> None:
    class Revoked(SessionEnded):
        code = "key_revoked"
        status = 401

    setup = Setup()
    client = setup.client
    async with setup.running() as task:
        client.say(type="start", source="en")
        client.speak("alpha bravo charlie")
        await client.until(lambda events: any(e["type"] == "partial" for e in events))
        setup.driver.end(Revoked("the key was revoked"))
        await task
    assert client.texts
    assert client.events[-1]["code"] == "key_revoked"
    assert client.events[-1]["fatal"] is True
    assert client.closed == (4401, "key_revoked")


@pytest.mark.parametrize(("started", "code"), [(False, "start_timeout"), (True, "idle_timeout")])
async def test_a_silent_client_is_not_waited_for_for_ever(started: bool, code: str) -> None:
    setup = Setup(Timeouts(start=0.01 if not started else 5, idle=0.01))
    async with setup.running() as task:
        if started:
            setup.client.say(type="start")
        await task
    assert setup.client.events[-1]["code"] == code
    assert setup.client.closed == (4408, code)


async def test_a_client_that_does_not_read_is_hung_up_on() -> None:
    setup = Setup(Timeouts(send=0.01))
    setup.client.reading.clear()
    async with setup.running() as task:
        setup.client.say(type="start")
        await task
    assert setup.client.closed == (4408, "slow_reader")


async def test_an_end_that_comes_too_late_leaves_nothing_behind() -> None:
    """Else Python warns of a coroutine that nobody waited for, and a warning is an error here."""
    setup = Setup()
    async with setup.running():
        setup.client.say(type="start")
        await setup.client.until(bool)
        setup.driver.abandon()
        setup.driver.end(None)
    gc.collect()


class _Broken:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def open(self) -> _Broken:
        return self

    def pass_over(self, _windows: Windows) -> int:
        return 0

    def submit(self, windows: Windows) -> Probabilities:  # noqa: ARG002 - the port's
        raise self.error

    async def detect(self, windows: Windows) -> Probabilities:
        return self.submit(windows)

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("error", "code", "close"),
    [
        (ModelUnavailable("the detector stopped"), "model_unavailable", 4503),
        (ZeroDivisionError(), "internal_error", 4500),
    ],
)
async def test_a_model_that_breaks_ends_the_session_with_an_error(
    error: Exception, code: str, close: int
) -> None:
    setup = Setup(detector=_Broken(error))
    async with setup.running() as task:
        setup.client.say(type="start")
        setup.client.speak("alpha")
        await task
    assert setup.client.events[-1]["code"] == code
    assert setup.client.closed == (close, code)


class _Meter:
    """Allows so many milliseconds, and warns at half of them."""

    def __init__(self, allowed: int) -> None:
        self.allowed = allowed
        self.told: list[int] = []

    def covers(self, audio_ms: int) -> bool:  # noqa: ARG002 - the protocol's
        return False

    async def spend(self, audio_ms: int, characters: int) -> list[WarningEvent]:
        assert characters >= 0
        half = self.allowed // 2
        before = self.told[-1] if self.told else 0
        self.told.append(audio_ms)
        if audio_ms > self.allowed:
            raise _Exceeded("no more today")
        return [WarningEvent(code="half", message="")] if before < half <= audio_ms else []

    async def settle(self, audio_ms: int, characters: int) -> None:
        assert audio_ms >= self.told[-1]
        assert characters >= 0


class _Exceeded(SessionEnded):
    code = "exceeded"
    status = 429


@pytest.mark.parametrize("container", [False, True])
async def test_the_meter_is_told_in_pieces_and_ends_the_session_with_its_finals(
    container: bool,
) -> None:
    meter = _Meter(allowed=3000)
    setup = Setup(meter=meter)
    client = setup.client
    async with setup.running() as task:
        client.say(type="start", source="en", encoding="webm" if container else "pcm_s16le")
        said = speech("alpha bravo charlie", "delta", "echo foxtrot golf hotel india juliett")
        # All in one message, of which no more is taken than is allowed.
        client.frames.put_nowait(FakeContainerDecoder.wrap(said) if container else s16(said))
        await task
    assert max(late - early for early, late in pairwise(meter.told)) <= 520
    assert 3000 < meter.told[-1] <= 3520
    assert [event["code"] for event in client.of("warning")] == ["half"]
    assert client.texts[0] == "alpha bravo charlie"
    assert client.events[-1]["code"] == "exceeded"
    assert client.closed == (4429, "exceeded")
    assert [event["code"] for event in client.of("error")] == ["exceeded"]


async def test_the_meter_settles_before_the_end_is_told() -> None:
    class Settling(_Meter):
        async def settle(self, audio_ms: int, characters: int) -> None:
            settled.append((audio_ms, characters, bool(client.of("done"))))

    settled: list[tuple[int, int, bool]] = []
    setup = Setup(meter=Settling(allowed=10**9))
    client = setup.client
    async with setup.running() as task:
        client.say(type="start", source="en", targets=["pt"])
        client.speak("alpha bravo")
        client.say(type="stop")
        await task
    usage = client.of("done")[0]["usage"]
    total = (round(usage["audio_seconds"] * 1000), usage["characters"])
    assert settled[0] == (*total, False)
    assert {(audio_ms, characters) for audio_ms, characters, _ in settled} == {total}


async def test_a_message_over_the_limit_is_not_cut_into_smaller_ones() -> None:
    setup = Setup(meter=_Meter(allowed=10**9))
    async with setup.running() as task:
        setup.client.say(type="start", source="en")
        setup.client.frames.put_nowait(bytes((1 << 20) + 2))
        await task
    assert setup.client.closed == (4413, "message_too_large")
