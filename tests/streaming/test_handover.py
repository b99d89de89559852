"""A session that is cut anywhere and goes on says what an uncut one says."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.fakes import silence
from streaming import wire
from streaming.checkpoint import Checkpoint
from streaming.errors import ResumeImpossible
from streaming.segmenter import SegmenterConfig
from streaming.session_config import SessionConfig
from streaming.types import WINDOW, Audio
from tests.streaming.harness import TONES, Harness, s16, speech

PHRASES = ("Hello. Good morning.", "alpha bravo charlie delta", "Goodbye.")


def cut_up() -> Audio:
    """Somebody who does not stop: cut where it gets too long."""
    words = "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima"
    return TONES.speak(f"{words} {words}")


SPEECH = {
    "pauses": speech(*PHRASES),
    "long": speech(" ".join(PHRASES), gap=0.4),
    "cut": cut_up(),
    "silence": silence(3.0),
}
CONFIG = SessionConfig(segmenter=SegmenterConfig(max_ms=3_000, cut_search_ms=1_000))


def begun(start: dict[str, Any]) -> Harness:
    harness = Harness(CONFIG, language=start.get("source", "en"))
    harness.start(**start)
    return harness


@cache
def uncut(kind: str, source: str, targets: tuple[str, ...], interim: bool) -> Harness:
    harness = begun({"source": source, "targets": list(targets), "interim": interim})
    harness.send(s16(SPEECH[kind]))
    harness.settle()
    harness.say(type="stop")
    harness.settle()
    return harness


class Client:
    """What a client has: events by number, and its audio."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.events: list[wire.Event] = []

    def take(self, events: list[wire.Event]) -> None:
        self.events += events

    def stable_only_grows(self) -> bool:
        stable: dict[int, str] = {}
        for event in self.events:
            if isinstance(event, wire.PartialEvent):
                if not event.stable.startswith(stable.get(event.segment, "")):
                    return False
                stable[event.segment] = event.stable
            elif isinstance(event, wire.FinalEvent) and not event.text.startswith(
                stable.get(event.segment, "")
            ):
                return False
        return True


def answer(harness: Harness, data: st.DataObject) -> None:
    """Answer some of what is asked, in any order."""

    def pick(count: int) -> int:
        return data.draw(st.integers(0, count - 1))

    for _ in range(data.draw(st.integers(0, 6))):
        translates: bool = data.draw(st.booleans())
        if harness.recognitions:
            harness.recognise(pick)
        if translates and harness.translations:
            harness.translate(pick)


def lasting(events: list[wire.Event]) -> int:
    """The number of events up to the last one that is recorded before it is sent."""
    revisable = (wire.PartialEvent,)
    return max(
        (
            number
            for number, event in enumerate(events, 1)
            if not isinstance(event, revisable)
            and not (isinstance(event, wire.TranslationEvent) and not event.final)
        ),
        default=0,
    )


def said(events: list[wire.Event]) -> list[tuple[str, float, float]]:
    finals = [event for event in events if isinstance(event, wire.FinalEvent)]
    return [(event.text, event.start, event.end) for event in finals]


def translated(events: list[wire.Event]) -> list[tuple[str, str]]:
    return sorted(
        (event.target, event.text)
        for event in events
        if isinstance(event, wire.TranslationEvent) and event.final
    )


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_another_process_says_the_rest_and_nothing_twice(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(SPEECH)))
    source = data.draw(st.sampled_from(["en", "de"]))
    targets = data.draw(st.sampled_from([(), ("pt",), ("en", "pt")]))
    interim = data.draw(st.booleans())
    expected = uncut(kind, source, targets, interim)
    client = Client(s16(SPEECH[kind]))
    start = {"source": source, "targets": list(targets), "interim": interim}
    harness = begun(start)
    at = furthest = 0
    for _ in range(data.draw(st.integers(1, 3))):
        # Until it dies: the checkpoint is that after the last event which lasts.
        mark = kept(harness)
        base = len(client.events)
        for _ in range(data.draw(st.integers(0, 8))):
            step = 2 * data.draw(st.integers(1, 30_000))
            harness.send(client.data[at : at + step])
            mark = kept(harness, mark)
            at = min(len(client.data), at + step)
            answer(harness, data)
            mark = kept(harness, mark)
        recorded, state, events = mark
        # The client may lack any of the last events, but has none that was not sent.
        got = data.draw(st.integers(0, len(harness.events)))
        client.take(harness.events[:got])
        client.take(events[got:recorded])
        assert len(client.events) == base + max(got, recorded)
        checkpoint = msgspec.msgpack.decode(state, type=Checkpoint)
        harness = Harness(CONFIG, language=source)
        harness.session.go_on(checkpoint)
        harness.pump()
        ready = harness.session.resumed(7)
        assert ready.seq == 7
        assert ready.resume_token == "rs_secret"
        assert isinstance(ready.audio_received_bytes, int)
        assert ready.audio_received_bytes % (2 * WINDOW) == 0
        furthest = max(furthest, at)
        assert ready.audio_received_bytes <= furthest
        at = ready.audio_received_bytes
    harness.send(client.data[at:])
    harness.settle()
    harness.say(type="stop")
    harness.settle()
    client.take(harness.events)
    assert said(client.events) == said(expected.events)
    assert translated(client.events) == translated(expected.events)
    assert client.stable_only_grows()
    finals = [event.segment for event in client.events if isinstance(event, wire.FinalEvent)]
    assert finals == sorted(set(finals))
    (done,) = [event for event in client.events if isinstance(event, wire.DoneEvent)]
    (whole,) = expected.of(wire.DoneEvent)
    assert (done.segments, done.usage) == (whole.segments, whole.usage)


Mark = tuple[int, bytes, list[wire.Event]]


def kept(harness: Harness, before: Mark | None = None) -> Mark:
    """What a driver would have recorded by now."""
    recorded = lasting(harness.events)
    if before is not None and recorded == before[0]:
        return before
    state = msgspec.msgpack.encode(harness.session.checkpoint())
    return len(harness.events), state, list(harness.events)


def test_a_server_that_leaves_has_finalised_everything_it_took() -> None:
    first = begun({"source": "en", "targets": ["pt"]})
    data = s16(speech(*PHRASES))
    first.send(data[:60_000])
    first.session.leave(complete=False)
    first.send(data[60_000:64_000])  # the client has not heard of it yet; it will send it again
    first.say(type="stop")
    first.pump()
    first.settle()
    assert first.closed is not None
    assert (first.closed.code, first.closed.reason) == (1012, "draining")
    assert not first.of(wire.DoneEvent)
    assert not first.of(wire.ErrorEvent)
    second = Harness(CONFIG)
    second.session.go_on(first.session.checkpoint())
    second.send(data[second.session.audio_bytes :])
    second.say(type="stop")
    second.settle()
    words = " ".join(first.texts + second.texts).split()
    assert " ".join(words) == " ".join(PHRASES)


def test_a_container_is_not_gone_on_with() -> None:
    harness = begun({"encoding": "webm"})
    with pytest.raises(ResumeImpossible, match="begin a new session"):
        Harness().session.go_on(harness.session.checkpoint())


def test_options_are_those_that_were_asked_for_last() -> None:
    harness = begun({"source": "en", "word_timestamps": True, "vocabulary": ["Surtitle"]})
    harness.say(type="configure", targets=["pt"], interim=False, endpoint_ms=1_200)
    checkpoint = harness.session.checkpoint()
    other = Harness()
    other.session.go_on(checkpoint)
    again = other.session.checkpoint()
    assert msgspec.structs.replace(again, place=checkpoint.place) == checkpoint


def test_in_silence_little_has_to_be_sent_again() -> None:
    harness = begun({})
    for _ in range(60):
        harness.send(s16(silence(1)))
    assert 60 * 16_000 - harness.session.checkpoint().position < 1.5 * 16_000


def test_positions_are_in_the_clients_own_frames() -> None:
    harness = begun({"sample_rate": 44_100, "channels": 2, "encoding": "pcm_f32le"})
    for _ in range(10):
        harness.send(bytes(44_100 * 8))
    other = Harness()
    other.session.go_on(harness.session.checkpoint())
    ready = other.session.resumed(1)
    assert isinstance(ready.audio_received_bytes, int)
    assert isinstance(ready.audio_received, float)
    assert ready.audio_received_bytes % 8 == 0
    assert ready.audio_received == pytest.approx(ready.audio_received_bytes / 8 / 44_100, abs=1e-3)
    assert 8.4 < ready.audio_received < 9.9
