"""Answers are applied in the order of the questions, each once."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import RecognitionFailed
from streaming.segments import Answer, Segment
from streaming.types import Hypothesis, Priority, RecognitionJob
from streaming.utterance import Utterance


def job(revision: int) -> RecognitionJob:
    return RecognitionJob("s", 0, revision, np.zeros(0, dtype=np.float32), Priority.PARTIAL)


def answer(revision: int) -> Answer:
    failed = revision % 3 == 0
    return RecognitionFailed("no") if failed else Hypothesis(str(revision), "en")


@given(order=st.permutations(range(1, 9)), again=st.lists(st.integers(-1, 12), max_size=8))
def test_whatever_order_answers_come_in(order: list[int], again: list[int]) -> None:
    segment = Segment(Utterance(0, 0, 0))
    segment.asked = 8
    applied: list[int] = []
    for revision in [x for pair in zip(order, [*again, *order], strict=False) for x in pair]:
        if revision in order:
            applied += [
                ready.revision for ready, _ in segment.take(job(revision), answer(revision))
            ]
        else:
            assert list(segment.take(job(revision), answer(revision))) == []
        assert segment.unanswered == 8 - len(applied)
    for revision in order:
        applied += [ready.revision for ready, _ in segment.take(job(revision), answer(revision))]
    assert applied == list(range(1, 9))
    assert segment.early == {}


def test_what_a_pause_ends_with_is_known_before_its_turn() -> None:
    segment = Segment(Utterance(0, 0, 0))
    segment.asked, segment.speculative = 2, 2
    assert list(segment.take(job(2), answer(2))) == []
    assert segment.speculated == answer(2)
    assert [ready.revision for ready, _ in segment.take(job(1), answer(1))] == [1, 2]
    segment.speech_goes_on()
    assert segment.pause_end is None
