"""The session, tested with bytes and results alone."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.fakes import silence
from inference.sentences import sentences
from streaming import wire
from streaming.errors import RecognitionFailed, TranslationFailed
from streaming.types import WINDOW, Hypothesis, Translation
from tests.streaming.harness import Harness, s16, speech

PHRASES = ("Hello. Good morning.", "alpha bravo charlie delta", "Goodbye.")


def test_speech_comes_back_as_finals_and_done() -> None:
    harness = Harness()
    harness.start(source="en")
    harness.speak(*PHRASES)
    harness.say(type="stop")
    harness.settle()

    assert harness.texts == list(PHRASES)
    first, *_, last = harness.events
    assert isinstance(first, wire.ReadyEvent)
    assert isinstance(last, wire.DoneEvent)
    assert last.segments == 3
    assert last.audio_seconds == pytest.approx(len(speech(*PHRASES)) / 16_000, abs=1e-3)
    assert harness.closed is not None
    assert harness.closed.code == 1000
    for final in harness.of(wire.FinalEvent):
        assert final.language == "en"
        assert final.start < final.end
    for before, after in pairwise(harness.of(wire.FinalEvent)):
        assert before.end <= after.start


@given(
    cuts=st.lists(st.integers(0, 10**6), max_size=20),
    interim=st.booleans(),
    container=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_finals_do_not_depend_on_how_audio_is_cut(
    cuts: list[int], interim: bool, container: bool
) -> None:
    audio = speech(*PHRASES)
    data = s16(audio)
    edges = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    harness = Harness()
    harness.start(interim=interim, encoding="webm" if container else "pcm_s16le")
    for a, b in pairwise(edges):
        harness.send(data[a:b])
        if container:
            harness.decodes.clear()
            whole = slice(a // 2, b // 2)
            harness.session.receive_samples(audio[whole])
            harness.pump()
        harness.settle()
    harness.say(type="stop")
    if container:
        harness.session.receive_samples(np.empty(0, dtype=np.float32), last=True)
        harness.pump()
    harness.settle()
    assert harness.texts == list(PHRASES)
    assert harness.closed is not None


def answer_some(harness: Harness, data: st.DataObject, *, everything: bool) -> None:
    """Answer jobs in any order: as many as is drawn, or all."""

    def pick(count: int) -> int:
        return data.draw(st.integers(0, count - 1))

    def go_on() -> bool:
        return everything or data.draw(st.booleans())

    while harness.recognitions or harness.translations:
        while harness.recognitions and go_on():
            harness.recognise(pick)
        while harness.translations and go_on():
            harness.translate(pick)
        if not everything:
            return


def by_sentence(text: str) -> str:
    """What the harness translates a text to."""
    return " ".join(f"<{piece.strip()}>" for piece in sentences(text, "en"))


def assert_stable_text_stays(harness: Harness) -> None:
    over: set[int] = set()
    stable: dict[int, str] = {}
    for event in harness.events:
        match event:
            case wire.PartialEvent(segment=segment):
                assert segment not in over
                assert event.stable.startswith(stable.get(segment, ""))
                stable[segment] = event.stable
            case wire.FinalEvent(segment=segment):
                assert event.text.startswith(stable.get(segment, ""))
                over.add(segment)


@given(cuts=st.lists(st.integers(0, 10**6), max_size=20))
@settings(max_examples=30, deadline=None)
def test_what_is_passed_over_is_as_if_it_had_been_searched(cuts: list[int]) -> None:
    data = s16(speech(*PHRASES, gap=3.0))
    edges = [0, *sorted(cut % len(data) for cut in cuts), len(data)]
    told = []
    for sparing in (True, False):
        harness = Harness(sparing=sparing)
        harness.start(source="en")
        for a, b in pairwise(edges):
            harness.send(data[a:b])
            harness.settle()
        harness.say(type="stop")
        harness.settle()
        told.append((harness.events, harness.session.audio_samples))
        windows = -(-len(data) // 2 // WINDOW)
        assert harness.detected < windows if sparing else harness.detected == windows
    assert told[0] == told[1]


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_the_order_of_results_nothing_is_lost_doubled_or_rewritten(
    data: st.DataObject,
) -> None:
    harness = Harness()
    harness.start(source="en", targets=["pt", "en"])
    stream = s16(speech(*PHRASES))
    step = data.draw(st.integers(2_000, 60_000))
    for at in range(0, len(stream), step):
        harness.send(stream[at : at + step])
        answer_some(harness, data, everything=False)
    harness.say(type="stop")
    answer_some(harness, data, everything=True)

    assert harness.texts == list(PHRASES)
    assert isinstance(harness.events[-1], wire.DoneEvent)
    assert_stable_text_stays(harness)
    finals = [e for e in harness.of(wire.TranslationEvent) if e.final]
    assert sorted((e.segment, e.target) for e in finals) == [
        (segment, target) for segment in range(3) for target in ("en", "pt")
    ]
    for event in finals:
        text = PHRASES[event.segment]
        assert event.text == (text if event.target == "en" else by_sentence(text))


@given(
    markers=st.lists(st.integers(0, 10**5), min_size=1, max_size=6),
    answers=st.lists(st.booleans(), max_size=20),
)
@settings(max_examples=50, deadline=None)
def test_every_marker_comes_back_once_and_after_the_finals_before_it(
    markers: list[int], answers: list[bool]
) -> None:
    harness = Harness()
    harness.hold_detection = True
    harness.start(source="en")
    stream = s16(speech(*PHRASES))
    edges = [0, *sorted(2 * marker % len(stream) // 2 * 2 for marker in markers)]
    decisions = iter(answers)
    for number, (a, b) in enumerate(pairwise(edges)):
        harness.send(stream[a:b])
        harness.say(type="finalize", marker=number)
        if next(decisions, False):
            harness.detect()
            harness.settle()
    harness.send(stream[edges[-1] :])
    harness.say(type="stop")
    harness.detect()
    harness.settle()

    echoed = [event.marker for event in harness.of(wire.MarkerEvent)]
    assert echoed == list(range(len(markers)))
    end = {number: b / 2 / 16_000 for number, b in enumerate(edges[1:])}
    seen: set[Any] = set()
    for event in harness.events:
        if isinstance(event, wire.MarkerEvent):
            seen.add(event.marker)
        elif isinstance(event, wire.FinalEvent):
            assert all(event.end >= end[m] - 0.064 for m in seen), "a final after its marker"


def test_a_stale_result_changes_nothing() -> None:
    harness = Harness()
    harness.start(source="en")
    stream = s16(speech("alpha bravo charlie delta echo foxtrot"))
    harness.send(stream[: len(stream) // 2])
    old = harness.recognitions[0]
    harness.send(stream[len(stream) // 2 :])
    harness.settle()
    before = list(harness.events)
    harness.session.receive_hypothesis(old, Hypothesis("nonsense", "en"))
    harness.session.receive_recognition_failure(old, RecognitionFailed("late"))
    harness.pump()
    assert harness.events == before
    assert harness.texts == ["alpha bravo charlie delta echo foxtrot"]


def test_speech_events_frame_the_utterance() -> None:
    harness = Harness()
    harness.start(source="en")
    harness.speak("alpha bravo")
    harness.settle()
    (started,) = harness.of(wire.SpeechStartedEvent)
    (ended,) = harness.of(wire.SpeechEndedEvent)
    assert started.at == pytest.approx(0.4, abs=0.05)
    assert ended.at == pytest.approx(0.4 + 2 * 0.256 - 0.064, abs=0.05)


def test_silence_says_nothing() -> None:
    harness = Harness()
    harness.start(source="en")
    harness.send(s16(silence(5)))
    harness.say(type="stop")
    assert [type(event) for event in harness.events] == [wire.ReadyEvent, wire.DoneEvent]
    assert harness.asked == []


def test_spoken_routes_translate_from_the_audio() -> None:
    harness = Harness(language="de")
    harness.start(targets=["en", "pt", "xx"])
    harness.speak("alpha bravo", "charlie")
    harness.say(type="stop")
    harness.settle()
    shown = {(e.segment, e.target): e.text for e in harness.of(wire.TranslationEvent) if e.final}
    assert shown == {
        (0, "en"): "ALPHA BRAVO",
        (0, "pt"): "<ALPHA BRAVO>",
        (1, "en"): "CHARLIE",
        (1, "pt"): "<CHARLIE>",
    }
    assert sum(job.task == "translate" for job in harness.asked) == 2
    (warning,) = harness.of(wire.WarningEvent)
    assert warning.code == "language_unsupported"
    assert isinstance(harness.events[-1], wire.DoneEvent)


def test_targets_change_while_running() -> None:
    harness = Harness()
    harness.start(source="en", interim=False)
    harness.speak("alpha")
    harness.settle()
    harness.say(type="configure", targets=["pt"])
    harness.speak("bravo")
    harness.settle()
    harness.say(type="configure", targets=[])
    harness.speak("charlie")
    harness.settle()
    assert [event.text for event in harness.of(wire.TranslationEvent)] == ["<bravo>"]


def test_interim_translations_follow_the_stable_text() -> None:
    harness = Harness()
    harness.start(source="en", targets=["pt"])
    stream = s16(speech("alpha bravo charlie delta echo foxtrot golf"))
    for at in range(0, len(stream), 3200):
        harness.send(stream[at : at + 3200])
        harness.settle()
    interim = [event for event in harness.of(wire.TranslationEvent) if not event.final]
    assert interim
    assert interim[0].text.startswith("<alpha")
    assert harness.of(wire.TranslationEvent)[-1].final


def test_a_failed_translation_is_tried_again_then_told() -> None:
    harness = Harness()
    harness.start(source="en", targets=["pt"], interim=False)
    harness.speak("alpha", "bravo")
    harness.say(type="stop")
    while harness.recognitions:
        harness.recognise()
    first, second = harness.translations
    harness.translations.clear()
    harness.session.receive_translation_failure(first, TranslationFailed("once"))
    harness.pump()
    assert harness.codes == []
    harness.session.receive_translation(harness.translations.pop(), Translation("ok", "fake"))
    for _ in range(2):
        harness.session.receive_translation_failure(second, TranslationFailed("always"))
    harness.pump()
    assert harness.codes == ["translation_failed"]
    assert harness.of(wire.ErrorEvent)[0].details == {"segment": 1, "target": "pt"}
    assert [event.text for event in harness.of(wire.TranslationEvent)] == ["ok"]
    assert isinstance(harness.events[-1], wire.DoneEvent)
