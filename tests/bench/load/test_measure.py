from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.corpus import Errors
from bench.load.measure import (
    Baseline,
    figures,
    final_times,
    groups,
    shortcomings,
    utterance_errors,
)
from bench.load.plan import RunLog, StreamLog
from bench.load.schedule import Line, Script
from bench.load.speech import Utterance
from bench.load.transcript import Run, Transcript
from bench.metrics import Spoken
from streaming.types import SAMPLE_RATE

TEXTS = ["the cat sat", "on a mat", "and slept all day"]


def utterance(text: str, seconds: float = 4.0) -> Utterance:
    """One word a half second, from 0.5 s on; then quiet."""
    words = text.split()
    return Utterance(
        clip=text,
        text=text,
        audio=np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32),
        words=tuple(Spoken(w, 1 + n / 2, 0.5 + n / 2) for n, w in enumerate(words)),
        speech=(0.5, 0.5 + len(words) / 2),
        offline=Errors(len(words)),
    )


POOL = [utterance(text) for text in TEXTS]


def stream(*said: int, began: float = 100.0, offset: float = 0.0, number: int = 0) -> StreamLog:
    lines = tuple(Line(index, 4.0 * at) for at, index in enumerate(said))
    script = Script(stream=number, offset=offset, lines=lines, seconds=4.0 * len(said))
    return StreamLog(script=script, began=began, ended=4.0 * len(said))


def run(*streams: StreamLog) -> RunLog:
    return RunLog(
        began=99.0,
        speaking=100.0,
        ended=200.0,
        streams=list(streams),
        own_delays=[0.001],
        answers=[0.002],
    )


# ---------------------------------------------------------------- which text is whose


def test_an_utterance_is_final_when_its_last_text_is() -> None:
    runs = [Run(2.0, "The cat"), Run(3.0, "sat on"), Run(5.0, "a mat, and slept all day.")]
    assert final_times(TEXTS, runs) == [3.0, 5.0, 5.0]


def test_what_was_never_heard_is_missed() -> None:
    runs = [Run(2.0, "The cat sat."), Run(9.0, "And slept all day.")]
    assert final_times(TEXTS, runs) == [2.0, None, 9.0]
    assert final_times(TEXTS, []) == [None, None, None]
    assert final_times([], runs) == []


def test_last_words_that_are_all_wrong_still_belong_to_their_utterance() -> None:
    runs = [Run(2.0, "the cat"), Run(3.5, "shat"), Run(5.0, "on a mat")]
    assert final_times(TEXTS[:2], runs) == [3.5, 5.0]


def test_a_wrong_word_in_the_next_utterance_does_not_delay_the_one_before() -> None:
    # "sat" is missing, and "uh" stands where it was.
    runs = [Run(2.0, "the cat"), Run(7.0, "uh on a mat")]
    assert final_times(TEXTS[:2], runs) == [2.0, 7.0]


def test_words_out_of_nowhere_are_nobodys() -> None:
    runs = [Run(2.0, "the cat sat"), Run(8.0, "Thank you."), Run(12.0, "on a mat")]
    assert final_times(TEXTS[:2], runs) == [2.0, 12.0]


def test_errors_are_told_by_utterance() -> None:
    found = utterance_errors(TEXTS, "The cat sat sat on mat and slipped all day")
    assert found == [Errors(3, 0, 0, 1), Errors(3, 0, 1, 0), Errors(4, 1, 0, 0)]
    assert utterance_errors(TEXTS[:1], "") == [Errors(3, 0, 3, 0)]
    assert utterance_errors([""], "anything") == [Errors()]


# ---------------------------------------------------------------- figures


def test_the_figures_of_a_stream() -> None:
    log = stream(0, 1)
    seen = log.transcript
    seen.show(1.2, 0, "", "The hat")
    seen.show(1.8, 0, "", "The cat")
    seen.finish(2.6, 0, "The cat sat.", whole=True)
    seen.show(5.5, 1, "", "on")
    seen.finish(7.0, 1, "on a mat", whole=True)
    seen.notices["warning lagging"] += 2
    row = figures(groups(run(log), POOL)["speaker"])
    assert (row["utterances"], row["measured"], row["missed"]) == (2, 2, 0)
    assert (row["final_lag_p50"], row["final_lag_max"]) == (0.6, 1.0)
    assert (row["first_text_p50"], row["first_text_p95"]) == (0.7, 1.0)
    assert row["wer"] == 0
    # "hat" was taken back, and "cat" for "cat sat." was not.
    assert row["erasure"] == pytest.approx(1 / 6, abs=0.001)
    assert row["notices"] == {"warning lagging": 2}


def test_delays_count_from_when_all_are_speaking_and_words_always() -> None:
    early, late = stream(0, 1), stream(1, began=104.6, offset=4.6, number=1)
    for log, text in ((early, "the cat sat on a mat"), (late, "on a mat")):
        log.transcript.finish(9.0, 0, text, whole=True)
    row = figures(groups(run(early, late), POOL)["speaker"])
    assert (row["utterances"], row["measured"], row["words"]) == (3, 1, 9)


def test_who_was_refused_missed_nothing() -> None:
    refused = stream(0, number=1)
    refused.began, refused.refused, refused.retry_after = None, "503 overloaded", 3.0
    spoke = stream(0)
    spoke.transcript.finish(2.4, 0, "the cat sat", whole=True)
    row = figures(groups(run(spoke, refused), POOL)["speaker"])
    assert (row["streams"], row["utterances"], row["missed"]) == (2, 1, 0)
    assert row["refused"] == {"503 overloaded": 1}
    assert row["retry_after"] == [3.0]
    assert shortcomings(row) == ["refused: {'503 overloaded': 1}"]


def test_what_the_reference_spells_otherwise_is_found_by_what_was_heard_offline() -> None:
    ten = replace(utterance("ten"), words=(Spoken("10.", 1.0, 0.5),), offline=Errors(1, 1))
    log = stream(0)
    log.transcript.finish(1.5, 0, "10!", whole=True)
    row = figures(groups(run(log), [ten])["speaker"])
    assert (row["missed"], row["final_lag_p50"]) == (0, 0.5)
    (missed,) = groups(run(stream(0)), [ten])["speaker"].heard
    assert missed.final_lag is None


def test_groups_are_told_apart() -> None:
    one, other = stream(0), stream(1, number=1)
    other.script = Script(
        stream=1, offset=0, lines=other.script.lines, seconds=4.0, group="newcomer"
    )
    found = groups(run(one, other), POOL)
    assert list(found) == ["speaker", "newcomer"]
    assert [len(group.heard) for group in found.values()] == [1, 1]


def test_an_utterance_is_compared_with_itself_spoken_alone() -> None:
    alone = stream(0, 1, 2)
    alone.transcript.finish(9.0, 0, "the cat sat on a hat and slept all day", whole=True)
    baseline = Baseline.of(groups(run(alone), POOL)["speaker"].heard)
    # Only the second is said, which is one word wrong alone as well.
    same = stream(1)
    same.transcript.finish(3.0, 0, "on a hat", whole=True)
    assert baseline.change(groups(run(same), POOL)["speaker"].heard) == 0
    worse = stream(0, 1)
    worse.transcript.finish(3.0, 0, "the cat sad on a hat", whole=True)
    change = baseline.change(groups(run(worse), POOL)["speaker"].heard)
    assert change == pytest.approx(100 / 6)
    assert Baseline({}).change(groups(run(worse), POOL)["speaker"].heard) is None


def test_why_a_number_is_not_held() -> None:
    fine = {
        "final_lag_p95": 1.0,
        "wer_change": 1.0,
        "missed": 0,
        "utterances": 9,
        "refused": {},
        "broken": {},
    }
    assert shortcomings(fine) == []
    for worse in (
        {"final_lag_p95": 1.01},
        {"final_lag_p95": None},
        {"wer_change": 1.1},
        {"missed": 1},
        {"refused": {"503": 1}},
        {"broken": {"closed": 1}},
    ):
        assert len(shortcomings({**fine, **worse})) == 1


def test_a_stream_in_which_nothing_came_is_all_missed() -> None:
    row = figures(groups(run(stream(0, 1)), POOL)["speaker"])
    assert (row["missed"], row["final_lag_p95"], row["wer"]) == (2, None, 100.0)
    assert row["erasure"] is None
    assert Transcript().text == ""
