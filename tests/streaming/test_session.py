"""The session, tested with bytes and results alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.fakes import silence
from inference.sentences import sentences
from streaming import wire
from streaming.captions import endpoint_ms
from streaming.errors import RecognitionFailed, TranslationFailed
from streaming.session_config import SessionConfig
from streaming.types import WINDOW, Hypothesis, Priority, Timing, Translation
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


def test_the_final_is_begun_at_the_pause_and_not_decoded_again() -> None:
    harness = Harness(SessionConfig(partial_ms=100_000))
    harness.start(source="en")
    harness.speak("alpha bravo charlie")
    assert [job.priority for job in harness.asked] == [Priority.FINAL]
    harness.settle()
    assert harness.texts == ["alpha bravo charlie"]


def test_partials_show_what_is_stable() -> None:
    harness = Harness()
    harness.start(source="en")
    stream = s16(speech("alpha bravo charlie delta echo foxtrot golf"))
    for at in range(0, len(stream), 3200):
        harness.send(stream[at : at + 3200])
        harness.settle()
    partials = harness.of(wire.PartialEvent)
    assert len(partials) >= 3
    assert any(partial.stable for partial in partials)
    for before, after in pairwise(partials):
        assert after.stable.startswith(before.stable)
        assert after.end > before.end


def test_interim_off_sends_finals_alone() -> None:
    harness = Harness()
    harness.start(source="en", targets=["pt"], interim=False)
    harness.speak(*PHRASES)
    harness.say(type="stop")
    harness.settle()
    assert harness.of(wire.PartialEvent) == []
    assert all(event.final for event in harness.of(wire.TranslationEvent))
    assert harness.texts == list(PHRASES)


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


def test_a_long_utterance_is_cut_and_each_part_has_its_final() -> None:
    words = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel"] * 12
    harness = Harness()
    harness.start(source="en")
    harness.send(s16(speech(" ".join(words))))
    harness.say(type="stop")
    harness.settle()
    assert len(harness.texts) > 1
    assert " ".join(harness.texts).split() == words
    assert len(harness.of(wire.SpeechStartedEvent)) == 1
    assert len(harness.of(wire.SpeechEndedEvent)) == 1


def test_word_timestamps_are_on_the_streams_clock() -> None:
    harness = Harness()
    harness.start(source="en", word_timestamps=True)
    harness.speak("alpha", "bravo charlie")
    harness.say(type="stop")
    harness.settle()
    words = [word for final in harness.of(wire.FinalEvent) for word in final.words or []]
    assert [word.text for word in words] == ["alpha", "bravo", "charlie"]
    assert words[0].start == pytest.approx(0.4, abs=0.03)
    assert words[1].start == pytest.approx(0.4 + 0.256 + 0.8, abs=0.03)


def test_words_are_written_as_the_final_is() -> None:
    harness = Harness(SessionConfig(partial_ms=100))
    harness.start(source="en", word_timestamps=True)
    said = "alpha bravo charlie delta echo foxtrot golf hotel"
    stream = s16(speech(said))
    for at in range(0, len(stream), 3200):
        harness.send(stream[at : at + 3200])
        while harness.recognitions:
            job = harness.recognitions.pop(0)
            heard = harness.hear(job)
            if job.priority is Priority.PARTIAL:  # which is shouted, and promised so
                heard = replace(heard, text=heard.text.upper())
            harness.session.receive_hypothesis(job, heard)
            harness.pump()
    harness.say(type="stop")
    harness.settle()
    (final,) = harness.of(wire.FinalEvent)
    assert final.text.startswith("ALPHA")
    assert final.text.endswith("hotel")
    assert " ".join(word.text for word in final.words or []) == final.text


def test_vocabulary_and_language_go_to_the_recogniser_and_can_change() -> None:
    harness = Harness()
    harness.start(source="pt", vocabulary=["Lite\x00star", "\x07"])
    harness.speak("alpha")
    harness.settle()
    harness.say(type="configure", vocabulary=["Surtitle", "Silero"], interim=False)
    harness.speak("bravo")
    assert harness.asked[0].vocabulary == ("Litestar",)
    assert harness.asked[-1].vocabulary == ("Surtitle", "Silero")
    assert {job.language for job in harness.asked} == {"pt"}


def test_the_language_heard_is_the_next_hint() -> None:
    harness = Harness(language="de")
    harness.start()
    harness.speak("alpha")
    harness.settle()
    harness.speak("bravo")
    assert harness.asked[0].language_hint is None
    assert harness.asked[-1].language is None
    assert harness.asked[-1].language_hint == "de"


@pytest.mark.parametrize(
    ("phrase", "pause", "endpoint", "ended"),
    [
        ("alpha", 0.7, 300, True),
        ("alpha", 0.7, 2000, False),
        ("alpha", 1.0, None, True),
        ("alpha", 0.6, None, False),
        ("Goodbye.", 0.6, None, True),
        ("Goodbye.", 0.6, 2000, True),
        ("Goodbye.", 0.4, None, False),
        ("Goodbye.", 0.3, 200, True),
    ],
)
def test_a_whole_sentence_ends_sooner_and_endpoint_ms_bounds_the_wait(
    phrase: str, pause: float, endpoint: int | None, ended: bool
) -> None:
    harness = Harness()
    harness.start(source="en", **({} if endpoint is None else {"endpoint_ms": endpoint}))
    harness.send(s16(np.concatenate([speech(phrase, gap=0), silence(pause - 0.064)])))
    harness.settle()
    assert bool(harness.of(wire.SpeechEndedEvent)) == ended


def test_audio_waits_while_a_pause_is_undecided() -> None:
    harness = Harness()
    harness.start(source="en")
    harness.speak("alpha Goodbye.", "bravo")
    assert harness.session.behind > 1.0
    assert harness.of(wire.SpeechEndedEvent) == []
    harness.settle()
    assert harness.session.behind == 0.0
    assert harness.texts == ["alpha Goodbye.", "bravo"]


def test_a_failed_speculation_decides_nothing_and_the_endpoint_does() -> None:
    harness = Harness()
    harness.start(source="en", interim=False)
    harness.speak("Goodbye.", "alpha")
    job = harness.recognitions.pop()
    harness.session.receive_recognition_failure(job, RecognitionFailed("no"))
    harness.pump()
    harness.settle()
    harness.say(type="stop")
    harness.settle()
    assert harness.texts == ["Goodbye.", "alpha"]


def test_a_pause_need_not_wait_for_the_partial_before_it() -> None:
    harness = Harness(SessionConfig(partial_ms=600))
    harness.start(source="en")
    harness.send(s16(speech("alpha bravo", gap=0.3)))
    partial, final = harness.recognitions
    assert (partial.priority, final.priority) == (Priority.PARTIAL, Priority.FINAL)
    harness.recognise(lambda count: count - 1)
    assert harness.of(wire.PartialEvent) == [], "the partial's turn comes first"
    harness.recognise()
    assert harness.of(wire.PartialEvent)[-1].unstable == "alpha bravo"


def test_partials_become_rare_while_answers_wait_and_that_is_told() -> None:
    harness = Harness()
    harness.start(source="en")
    stream = s16(speech("alpha bravo charlie delta echo foxtrot golf hotel " * 3))

    def hear(seconds: float, waited: float) -> int:
        nonlocal stream
        before = len(harness.asked)
        for _ in range(round(seconds * 10)):
            harness.send(stream[:3200])
            stream = stream[3200:]
            while harness.recognitions:
                job = harness.recognitions.pop(0)
                heard = replace(harness.hear(job), timing=Timing(queued=waited))
                harness.session.receive_hypothesis(job, heard)
                harness.pump()
        return len(harness.asked) - before

    usual = hear(2.0, 0.0)
    hear(1.0, 2.0)
    assert hear(2.0, 2.0) < usual / 2
    (warning,) = harness.of(wire.WarningEvent)
    assert warning.code == "degraded"
    assert warning.details["partial_ms"] > 1000


def test_who_falls_behind_gets_finals_alone_until_all_is_heard() -> None:
    harness = Harness()
    harness.start(source="en")
    harness.session.fall_behind(6.0)
    harness.session.fall_behind(7.0)
    harness.speak("alpha bravo charlie delta echo foxtrot golf hotel")
    harness.settle()
    assert {job.priority for job in harness.asked} == {Priority.FINAL}
    harness.session.catch_up()
    harness.session.catch_up()
    harness.speak("alpha bravo charlie delta echo foxtrot golf hotel")
    harness.settle()
    assert Priority.PARTIAL in {job.priority for job in harness.asked}
    told = [(event.code, event.details) for event in harness.of(wire.WarningEvent)]
    assert told == [("lagging", {"lag_seconds": 6.0}), ("recovered", {"lag_seconds": 0.0})]


def test_finals_are_the_context_of_what_follows() -> None:
    harness = Harness()
    harness.start(source="en")
    harness.speak("Hello. Good morning.", "charlie delta")
    harness.settle()
    assert harness.asked[0].prompt == ""
    assert harness.asked[-1].prompt == "Hello. Good morning."


def test_how_surely_a_sentence_ended_sets_the_wait() -> None:
    waits = [endpoint_ms(ending, 800) for ending in (1.0, 0.9, 0.85, 0.8, 0.75, 0.0)]
    assert waits == sorted(waits)
    assert (waits[0], waits[1], waits[-1]) == (512, 512, 800)
    assert endpoint_ms(1.0, 200) == endpoint_ms(0.0, 200) == 200


# ---------------------------------------------------------------- translation


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


# ---------------------------------------------------------------- failure


def test_a_failed_final_is_tried_three_times_more() -> None:
    harness = Harness()
    harness.start(source="en", interim=False)
    harness.speak("alpha bravo")
    harness.say(type="finalize")
    for _ in range(1 + 3):  # the final on trial, and three of the final itself
        job = harness.recognitions.pop()
        harness.session.receive_recognition_failure(job, RecognitionFailed("for now"))
        harness.pump()
    harness.settle()
    assert harness.texts == ["alpha bravo"]
    assert harness.codes == []


def test_a_final_that_cannot_be_had_is_what_was_last_heard_and_told() -> None:
    harness = Harness()
    harness.start(source="en")
    stream = s16(speech("alpha bravo charlie delta echo"))
    harness.send(stream[: 2 * 16_000])
    harness.recognise()
    heard = harness.hear(harness.asked[0]).text
    harness.send(stream[2 * 16_000 :])
    harness.say(type="stop")
    while harness.recognitions:
        job = harness.recognitions.pop()
        harness.session.receive_recognition_failure(job, RecognitionFailed("always"))
        harness.pump()
    assert harness.texts == [heard]
    assert harness.codes == ["recognition_failed"]
    assert isinstance(harness.events[-1], wire.DoneEvent)


def test_a_final_of_which_nothing_was_heard_is_told_and_so_is_its_marker() -> None:
    harness = Harness()
    harness.start(source="en", interim=False)
    harness.send(s16(speech("alpha bravo")))
    harness.say(type="finalize", marker="m")
    harness.say(type="stop")
    asked = 0
    while harness.recognitions:
        job = harness.recognitions.pop()
        harness.session.receive_recognition_failure(job, RecognitionFailed("always"))
        harness.pump()
        asked += 1
    assert asked == 1 + 4, "on trial, and then three times more than once"
    told = [event for event in harness.events if isinstance(event, wire.ErrorEvent)]
    assert [(event.code, event.retryable, event.details) for event in told] == [
        ("recognition_failed", True, {"segment": 0})
    ]
    assert [event.marker for event in harness.of(wire.MarkerEvent)] == ["m"]
    assert isinstance(harness.events[-1], wire.DoneEvent)
