"""When a session has what recognised, and what becomes of the answers."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from inference.fakes import silence
from streaming import wire
from streaming.captions import endpoint_ms
from streaming.errors import RecognitionFailed
from streaming.session_config import SessionConfig
from streaming.types import Priority, Timing
from tests.streaming.harness import Harness, s16, speech


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
    phrases = ("Hello. Good morning.", "alpha bravo charlie delta")
    harness.speak(*phrases)
    harness.say(type="stop")
    harness.settle()
    assert harness.of(wire.PartialEvent) == []
    assert all(event.final for event in harness.of(wire.TranslationEvent))
    assert harness.texts == list(phrases)


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


class _Speaker:
    """Somebody who speaks without a pause, to models that answer now and then."""

    def __init__(self) -> None:
        self.harness = Harness()
        self.harness.start(source="en")
        self._sound = s16(speech("alpha bravo charlie delta echo foxtrot golf hotel " * 4))

    def speak(self, seconds: float, *, waited: float = 0.0, every: int = 1) -> int:
        """How many partials are asked for. Their answers have waited for a worker."""
        harness = self.harness
        before = len(harness.asked)
        for tick in range(round(seconds * 10)):
            harness.send(self._sound[:3200])
            self._sound = self._sound[3200:]
            while harness.recognitions and tick % every == 0:
                job = harness.recognitions.pop(0)
                heard = replace(harness.hear(job), timing=Timing(queued=waited))
                harness.session.receive_hypothesis(job, heard)
                harness.pump()
        return len(harness.asked) - before


def test_partials_become_rare_while_answers_wait_and_that_is_told() -> None:
    speaker = _Speaker()
    usual = speaker.speak(2.0)
    speaker.speak(1.0, waited=2.0)
    assert speaker.speak(2.0, waited=2.0) < usual / 2
    (warning,) = speaker.harness.of(wire.WarningEvent)
    assert warning.code == "degraded"
    assert warning.details["partial_ms"] > 1000
    assert 1.0 <= warning.details["waited_seconds"] <= 2.0


def test_partials_become_rare_when_they_hold_up_the_sound_and_that_is_told() -> None:
    speaker = _Speaker()
    speaker.harness.session.note_lag(2.0)
    usual = speaker.speak(2.0)
    assert speaker.harness.of(wire.WarningEvent) == [], "it was something else that held it up"
    speaker.speak(3.0, every=15)
    assert speaker.speak(2.0) < usual / 2
    (warning,) = speaker.harness.of(wire.WarningEvent)
    assert warning.code == "degraded"
    assert warning.details["partial_ms"] > 1000
    assert 1.0 <= warning.details["waited_seconds"] <= 2.0


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
