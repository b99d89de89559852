"""When speech came and when its text went out, by a clock that goes when the test says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.observability.metrics import Metrics
from app.observability.streams import Arrivals, StreamObservation, UtteranceTimes
from streaming.types import SAMPLE_RATE
from streaming.wire import (
    DoneEvent,
    Event,
    FinalEvent,
    PartialEvent,
    SpeechEndedEvent,
    SpeechStartedEvent,
    TranslationEvent,
    Usage,
)
from tests.app.observability.support import Scrape, parse
from tests.clock import Clock


@given(st.lists(st.floats(0.032, 0.5), min_size=1, max_size=200), st.floats(0, 1))
def test_a_place_came_with_the_first_frame_that_holds_it(frames: list[float], share: float) -> None:
    arrivals = Arrivals()
    ends = [sum(frames[: index + 1]) for index in range(len(frames))]
    for number, end in enumerate(ends):
        arrivals.note(float(number), end)
    place = share * ends[-1]
    expected = next(number for number, end in enumerate(ends) if end >= place)
    came = arrivals.when(place)
    assert came is not None
    # To within a window.
    assert came - expected in (0, 1) or place > ends[-1] - 0.032


@pytest.mark.parametrize("frame", [0.032, 0.1, 5.0])
def test_arrivals_of_two_minutes_are_remembered(frame: float) -> None:
    arrivals = Arrivals()
    for tick in range(10_000):
        arrivals.note(tick * frame, tick * frame)
        assert len(arrivals._times) <= 2 * 120 / frame + 4
    last = 9_999 * frame
    for place in (last, last - 60, last - 119):
        assert arrivals.when(place) == pytest.approx(place, abs=2 * frame)
    assert arrivals.when(10.0) is None


@pytest.mark.parametrize(("pace", "live"), [(1.0, True), (0.9, True), (0.3, False), (0.0, False)])
def test_live_is_what_comes_as_it_is_spoken(pace: float, live: bool) -> None:
    arrivals = Arrivals()
    for tick in range(100):
        arrivals.note(tick * 0.1 * pace, tick * 0.1)
    assert arrivals.live(8.0) is live


class Stream:
    """A client that speaks in frames of 100 ms."""

    def __init__(self, heard: int = 0) -> None:
        self.clock = Clock(1000.0)
        self.metrics = Metrics()
        self.told: list[UtteranceTimes] = []
        self.samples = heard
        self.observation = StreamObservation(
            self.metrics, heard=heard, told=self.told.append, clock=self.clock
        )

    def speak(self, seconds: float, pace: float = 1.0) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.now += 0.1 * pace
            self.samples += SAMPLE_RATE // 10
            self.observation.heard(self.samples, 3200)

    def send(self, event: Event, after: float = 0.0) -> None:
        self.clock.now += after
        self.observation.sent(event, 100)

    def seen(self) -> Scrape:
        from prometheus_client import generate_latest

        return parse(generate_latest(self.metrics.registry).decode())


def final(start: float, end: float, segment: int = 0) -> FinalEvent:
    return FinalEvent(
        segment=segment, start=start, end=end, language="en", text="x", confidence=1.0
    )


def partial(start: float, segment: int = 0) -> PartialEvent:
    return PartialEvent(
        segment=segment, start=start, end=start + 1, language="en", stable="", unstable="x"
    )


def utter(stream: Stream, pace: float = 1.0) -> None:
    """Speech from 2 s to 4 s; first text 1 s after its begin, sure 0.5 s after its end, its final
    0.2 s later, and the translation another 0.3 s later.
    """
    stream.speak(3.0, pace)
    stream.send(SpeechStartedEvent(at=2.0))
    stream.send(partial(2.0))
    stream.speak(1.5, pace)
    stream.send(SpeechEndedEvent(at=4.0))
    stream.send(final(2.0, 4.0), after=0.2)
    stream.send(TranslationEvent(segment=0, target="pt", text="x", final=True), after=0.3)


def test_an_utterance_is_timed_from_its_sound_to_its_text() -> None:
    stream = Stream()
    with stream.observation.running():
        utter(stream)
        stream.send(DoneEvent(audio_seconds=4.5, segments=1, usage=Usage(4.5, 0)))
        stream.observation.closed(1000, "")
    seen = stream.seen()
    for name, seconds in (
        ("first_text", 1.0),
        ("endpoint_wait", 0.5),
        ("final_lag", 0.7),
        ("translation_lag", 0.3),
    ):
        assert seen.value(f"surtitle_{name}_seconds_count") == 1, name
        assert seen.value(f"surtitle_{name}_seconds_sum") == pytest.approx(seconds, abs=0.11), name
    assert seen.value("surtitle_sessions_ended_total", outcome="done") == 1
    assert seen.value("surtitle_audio_seconds_total", source="stream") == pytest.approx(4.5)
    assert seen.value("surtitle_stream_received_bytes_total") == 45 * 3200
    (times,) = stream.told
    assert times.segment == 0
    assert times.sent - times.ended == pytest.approx(0.7, abs=0.11)
    assert times.sure is not None


def test_the_next_may_begin_before_anything_of_one_was_shown() -> None:
    stream = Stream()
    stream.speak(4)
    stream.send(SpeechStartedEvent(at=2.0))
    stream.send(SpeechEndedEvent(at=3.0))
    stream.send(SpeechStartedEvent(at=3.9))
    stream.send(final(2.0, 3.0))
    stream.speak(1)
    stream.send(SpeechEndedEvent(at=4.5))
    stream.send(final(3.9, 4.5, segment=1))
    seen = stream.seen()
    for name in ("first_text", "endpoint_wait", "final_lag"):
        assert seen.value(f"surtitle_{name}_seconds_count") == 2, name


def test_a_file_sent_faster_than_speech_is_not_timed() -> None:
    stream = Stream()
    stream.speak(10, pace=0.05)
    for segment, at in ((0, 3.0), (1, 6.0)):
        stream.send(SpeechStartedEvent(at=at))
        stream.send(SpeechEndedEvent(at=at + 2), after=1)
        stream.send(final(at, at + 2, segment), after=1)
    seen = stream.seen()
    assert seen.value("surtitle_final_lag_seconds_count") == 0
    assert seen.value("surtitle_first_text_seconds_count") == 0
    assert seen.value("surtitle_events_total", type="final") == 2


def test_where_an_utterance_is_cut_nobody_waited_for_its_end() -> None:
    stream = Stream()
    stream.speak(18)
    stream.send(SpeechStartedEvent(at=0.5))
    stream.send(partial(0.5))
    stream.send(final(0.5, 14.0))
    stream.send(partial(14.1, segment=1))
    seen = stream.seen()
    assert seen.value("surtitle_final_lag_seconds_count") == 0
    assert seen.value("surtitle_first_text_seconds_count") == 1
    assert stream.told[0].sure is None


def test_audio_is_counted_by_the_second_and_what_is_left_at_the_end() -> None:
    stream = Stream()
    with stream.observation.running():
        stream.speak(0.9)
        assert stream.seen().value("surtitle_audio_seconds_total") == 0
        stream.speak(0.9)
        seen = stream.seen()
        assert seen.value("surtitle_audio_seconds_total") == pytest.approx(1.0)
        assert seen.value("surtitle_stream_received_bytes_total") == 32_000
    seen = stream.seen()
    assert seen.value("surtitle_audio_seconds_total") == pytest.approx(1.8)
    assert seen.value("surtitle_stream_received_bytes_total") == 18 * 3200


def test_what_a_resumed_stream_had_before_was_counted_then() -> None:
    stream = Stream(heard=60 * SAMPLE_RATE)
    with stream.observation.running():
        stream.speak(2)
    stream.send(SpeechEndedEvent(at=20.0))
    stream.send(final(18.0, 20.0))
    seen = stream.seen()
    assert seen.value("surtitle_audio_seconds_total") == pytest.approx(2.0)
    assert seen.value("surtitle_final_lag_seconds_count") == 0
    assert stream.told == []


@pytest.mark.parametrize(
    ("closed", "outcome"),
    [
        ((1000, ""), "done"),
        ((4401, "key_revoked"), "key_revoked"),
        ((1012, ""), "1012"),
        (None, "disconnected"),
    ],
)
def test_how_a_stream_ended(closed: tuple[int, str] | None, outcome: str) -> None:
    stream = Stream()
    with stream.observation.running():
        if closed is not None:
            stream.observation.closed(*closed)
    seen = stream.seen()
    assert seen.value("surtitle_sessions_ended_total", outcome=outcome) == 1
    assert seen.value("surtitle_sessions_ended_total") == 1


def test_a_long_stream_forgets_what_nobody_waits_for() -> None:
    stream = Stream()
    for segment in range(500):
        stream.speak(0.5)
        stream.send(final(segment / 2, segment / 2 + 0.5, segment))
    assert len(stream.observation._finals) <= 64
