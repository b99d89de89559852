"""What becomes of sound on its way to the session: real asyncio, fake models, a fake client."""

from __future__ import annotations

import asyncio

import pytest

from inference.fakes import silence
from streaming.driver import Timeouts
from streaming.sound import MAX_BEHIND
from tests.streaming.connected import Setup
from tests.streaming.harness import s16, speech


@pytest.mark.parametrize("end", ["stop", "gone", "ended"])
async def test_what_a_pressed_server_keeps_back_is_listened_to_before_what_follows(
    end: str,
) -> None:
    setup = Setup(Timeouts(resume=5.0), pressed=lambda: True)
    client, session = setup.client, setup.driver.session
    said = [*[s16(silence(0.5))] * 12, s16(speech("alpha bravo charlie"))]
    goodbye = s16(speech("Goodbye.", gap=0.0))
    # In frames that are taken in one turn: what was only begun when the session ends is not heard.
    pieces = [goodbye[at : at + 8000] for at in range(0, len(goodbye), 8000)]
    rest = [*[s16(silence(0.5))] * 12, *pieces]
    async with setup.running() as task:
        client.say(type="start", source="en")
        await client.stream(said)
        client.say(type="keepalive")
        await client.until(lambda events: any(e["type"] == "final" for e in events))
        await client.stream(rest)
        if end == "stop":
            client.say(type="stop")
        else:
            if end == "gone":
                client.frames.put_nowait(None)
                await setup.driver.disconnected()
            setup.driver.end(None)
        await task
    assert session.finals == 2
    assert session.audio_samples == sum(map(len, said + rest)) // 2
    if end != "gone":
        assert client.texts == ["alpha bravo charlie", "Goodbye."]


async def test_a_sender_faster_than_the_models_is_held_back() -> None:
    setup = Setup()
    client = setup.client
    setup.recognizer.gate.shut()
    phrases = [f"{word} {word}" for word in ("alpha", "bravo", "charlie", "delta") * 5]
    async with setup.running() as task:
        client.say(type="start", source="en", interim=False)
        client.speak(*phrases)
        client.say(type="stop")
        await setup.recognizer.gate.arrived()
        left = -1
        while left != client.frames.qsize():
            left = client.frames.qsize()
            for _ in range(20):
                await asyncio.sleep(0)
        assert left > 0, "everything was read"
        assert MAX_BEHIND <= setup.driver.session.behind < MAX_BEHIND + 1
        assert setup.recognizer.gate.waiting == 1
        setup.recognizer.gate.open()
        await task
    assert client.texts == phrases


async def test_a_live_speaker_is_told_of_the_lag() -> None:
    now = 100.0
    setup = Setup(clock=lambda: now)
    client = setup.client
    setup.recognizer.gate.shut()
    async with setup.running():
        client.say(type="start", source="en")
        data = s16(speech("Hello.", "alpha bravo charlie", "delta echo", gap=1.5))
        for at in range(0, len(data), 3200):
            client.frames.put_nowait(data[at : at + 3200])
            now += 0.1
            await asyncio.sleep(0)
        now += 10
        client.speak("foxtrot")
        await client.until(lambda events: any(e.get("code") == "lagging" for e in events))
        setup.recognizer.gate.open()
        client.say(type="stop")
        await client.until(lambda events: events[-1]["type"] == "done")
    assert client.texts == ["Hello.", "alpha bravo charlie", "delta echo", "foxtrot"]
