"""The observed ports are the ports."""

from __future__ import annotations

import numpy as np
import pytest

from app.observability.engines import (
    Answered,
    ObservedRecognizer,
    ObservedTranslator,
    Recognised,
    Translated,
)
from inference.fakes import FakeRecognizer, FakeTranslator, Tones
from streaming.errors import RecognitionFailed, Superseded, SurtitleError, TranslationFailed
from streaming.types import Priority, RecognitionJob, TranslationJob
from tests.clock import Clock

JOB = RecognitionJob(
    session="s",
    segment=1,
    revision=1,
    audio=Tones().speak("alpha").astype(np.float32),
    priority=Priority.FINAL,
    language="en",
)
TEXT = TranslationJob(
    session="s",
    segment=1,
    revision=1,
    text="alpha",
    source="en",
    target="pt",
    priority=Priority.FINAL,
)


async def test_the_recogniser_is_as_it_was_and_its_answers_are_told() -> None:
    told: list[Recognised] = []
    inner, clock = FakeRecognizer(), Clock(10.0)
    observed = ObservedRecognizer(inner, told.append, clock=clock)
    assert observed.model == inner.model
    assert observed.languages == inner.languages
    assert observed.translates == inner.translates
    assert observed.pressure == inner.pressure
    heard = await observed.recognize(JOB)
    assert heard.text == "alpha"
    assert told == [Answered(JOB, heard, 10.0, 10.0)]
    assert told[0].seconds == 0.0


@pytest.mark.parametrize(
    ("error", "told"), [(RecognitionFailed("x"), True), (Superseded("x"), False)]
)
async def test_errors_are_told_and_go_on(error: SurtitleError, told: bool) -> None:
    failures: list[SurtitleError] = []
    answers: list[Recognised] = []
    inner = FakeRecognizer()
    inner.fail_next(error)
    observed = ObservedRecognizer(inner, answers.append, failures.append)
    with pytest.raises(type(error)):
        await observed.recognize(JOB)
    assert failures == ([error] if told else [])
    assert answers == []


async def test_the_translator_likewise() -> None:
    told: list[Translated] = []
    failures: list[SurtitleError] = []
    inner = FakeTranslator()
    observed = ObservedTranslator(inner, told.append, failures.append)
    assert observed.pairs == inner.pairs
    done = await observed.translate(TEXT)
    assert [(each.job, each.answer) for each in told] == [(TEXT, done)]
    inner.fail_next(TranslationFailed("x"))
    with pytest.raises(TranslationFailed):
        await observed.translate(TEXT)
    assert [type(error) for error in failures] == [TranslationFailed]
