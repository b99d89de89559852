"""Rows of a batch: what is told of them, without a model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from inference.decoding import Decoded
from inference.whisper_rows import Row, Work, report
from streaming.types import SAMPLE_RATE, Priority, RecognitionJob, Timing, Word

TIMING = Timing(0.1, 0.2, 0.3)
WORDS = (Word(" Hello.", 0.0, 0.5, 0.9),)


def work(
    *, words: bool = False, seconds: float = 2.0, answer: Decoded | None = None, **fields: Any
) -> Work:
    job = RecognitionJob(
        session="s",
        segment=0,
        revision=0,
        audio=np.zeros(round(seconds * SAMPLE_RATE), np.float32),
        priority=Priority.FINAL,
        words=words,
    )
    made = Work(Row(job, bucket=500), mel=np.zeros((80, 500), np.float32), **fields)
    made.decoded = answer
    return made


HELLO = Decoded((1, 2), " Hello.", log_probability=-0.1, no_speech_probability=0.01)
NOTHING = Decoded((1, 2), " Thank you.", log_probability=-3.0, no_speech_probability=0.99)


@pytest.mark.parametrize("words", [False, True])
def test_an_answer_is_told_with_its_words_where_they_are_wanted(words: bool) -> None:
    row = work(words=words, answer=HELLO, language="pt", ending=0.8)
    row.words = WORDS
    told = row.hypothesis(TIMING)
    assert told.text == "Hello."
    assert told.language == "pt"
    assert told.confidence == pytest.approx(math.exp(-0.1))
    assert told.words == (WORDS if words else None)
    assert told.ending == 0.8
    assert told.timing == TIMING
    assert row.guards == []


@pytest.mark.parametrize("words", [False, True])
def test_silence_is_told_as_nothing_and_noted(words: bool) -> None:
    row = work(words=words, answer=NOTHING, ending=0.8)
    row.words = WORDS
    told = row.hypothesis(TIMING)
    assert (told.text, told.confidence, told.ending) == ("", 0.0, 0.0)
    assert told.words == (() if words else None)
    assert row.guards == ["silence"]


def test_a_batch_is_told_with_all_that_was_done_again() -> None:
    rows = [
        work(answer=HELLO, redone=True, guards=["loops"]),
        work(answer=HELLO, seconds=1.0, sampled=True, guards=["silence"]),
    ]
    told = report(rows, 0.25, 0.5)
    assert (told.rows, told.frames, told.priority) == (2, 500, Priority.FINAL)
    assert told.padding_frames == 300 + 400
    assert (told.encode_seconds, told.decode_seconds) == (0.25, 0.5)
    assert (told.widened, told.sampled) == (1, 1)
    assert told.guards == ("loops", "silence")


def test_a_row_that_was_not_decoded_has_no_answer() -> None:
    with pytest.raises(RuntimeError, match="not decoded"):
        work().hypothesis(TIMING)
