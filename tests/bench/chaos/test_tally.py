from __future__ import annotations

import pytest

from bench.chaos.compare import Span
from bench.chaos.record import Failure, Heard, Interruption, Record
from bench.chaos.speech import Speech
from bench.chaos.tally import Struck, Told, by_fault, tally

ONE = "the quick brown fox jumps over the lazy dog"
TWO = "and then it sleeps for the rest of the day"
SPEECH = Speech(bytes(2 * 16_000 * 8), (Span(0.0, 4.0), Span(4.0, 8.0)), (ONE, TWO))


def record(*texts: str) -> Record:
    finals = [Heard(4.0 * n, 4.0 * n + 3, text, 4.0 * n + 4) for n, text in enumerate(texts)]
    return Record(finals=finals, done=True)


UNDISTURBED = [[record(ONE, TWO).finals]]


def test_all_is_well() -> None:
    found = tally([Told(0, record(ONE, TWO))], [], [SPEECH], UNDISTURBED)
    assert (found["utterances"], found["correct_share"], found["error_rate"]) == (2, 1.0, 0.0)
    assert (found["lost"], found["added"], found["changed"], found["doubled"]) == (0, 0, 0, 0)
    assert found["recovery_max"] is None


def test_what_is_missing_is_wrong_and_one_that_gave_up_an_error() -> None:
    told = [Told(0, record(ONE), given_up=True), Told(0, record(ONE, TWO))]
    found = tally(told, [], [SPEECH], UNDISTURBED)
    assert found["correct_share"] == 0.75
    assert found["lost"] == len(TWO.split())
    assert found["errors"] == {"given up": 1}
    assert found["error_rate"] == 0.25
    assert found["wrong"] == [f"speech 0 at 4.0 s: {TWO!r} became ''"]


def test_being_sent_elsewhere_is_no_error() -> None:
    moved = record(ONE, TWO)
    moved.failures = [Failure("draining", 1.0), Failure("recognition_failed", 2.0)]
    found = tally([Told(0, moved)], [], [SPEECH], UNDISTURBED)
    assert found["errors"] == {"recognition_failed": 1}


def test_what_the_model_mishears_by_itself_says_nothing_of_faults() -> None:
    misheard = "and then it sweeps far the wrist of the bay"
    undisturbed = [[record(ONE, TWO).finals, record(ONE, misheard).finals]]
    found = tally([Told(0, record(ONE, "a third hearing"))], [], [SPEECH], undisturbed)
    assert found["correct_share"] == 0.5
    assert (found["known"], found["right_share"]) == (1, 1.0)
    found = tally([Told(0, record("the", TWO))], [], [SPEECH], undisturbed)
    assert (found["known"], found["right_share"]) == (1, 0.0)


def test_what_is_wrong_is_told_with_what_broke_about_then() -> None:
    short = record(ONE)
    short.began = 100.0
    short.failures = [Failure("recognition_failed", 107.5)]
    struck = [Struck("long before", 40.0), Struck("worker dies", 106.0), Struck("later", 150.0)]
    found = tally([Told(0, short)], struck, [SPEECH], UNDISTURBED)
    meanwhile = "6.0 s: worker dies, 7.5 s: error recognition_failed"
    assert found["wrong"] == [f"speech 0 at 4.0 s: {TWO!r} became '' ({meanwhile})"]


def test_interruptions_are_those_of_the_fault_before_them() -> None:
    struck = [Struck("cut", 10.0), Struck("kill", 20.0), Struck("cut", 30.0)]
    interruptions = [
        Interruption("by nobody", 5.0, 6.0),
        Interruption("reset", 10.1, 10.6),
        Interruption("gone", 21.0, 24.0),
        Interruption("gone", 22.0, None),
        Interruption("reset", 30.0, 30.1),
    ]
    assert by_fault(struck, interruptions) == [
        {
            "fault": "cut",
            "times": 2,
            "interruptions": 2,
            "recovery_p50": 0.1,
            "recovery_max": 0.5,
        },
        {
            "fault": "kill",
            "times": 1,
            "interruptions": 2,
            "recovery_p50": 3.0,
            "recovery_max": None,
        },
    ]


def test_nothing_at_all_is_no_success() -> None:
    found = tally([], [], [SPEECH], UNDISTURBED)
    assert found["correct_share"] != pytest.approx(1.0)
