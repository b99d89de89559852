"""What recogniser and translator are asked: each question has its answer, or a reason for none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from inference.fakes import FakeRecognizer, FakeTranslator
from streaming.errors import Overloaded, RecognitionFailed, SurtitleError, TranslationFailed
from streaming.jobs import Jobs
from streaming.session import StreamSession
from streaming.types import Hypothesis, Priority, RecognitionJob, Translation, TranslationJob
from tests.streaming.harness import TONES, FakeLanguages


class Told(StreamSession):
    """A session that only notes what it is told."""

    def __init__(self) -> None:
        super().__init__("s", languages=FakeLanguages(), model="fake")
        self.answers: list[tuple[RecognitionJob | TranslationJob, Any]] = []
        self.fault: Exception | None = None

    def receive_hypothesis(self, job: RecognitionJob, hypothesis: Hypothesis) -> None:
        if self.fault is not None:
            raise self.fault
        self.answers.append((job, hypothesis.text))

    def receive_recognition_failure(self, job: RecognitionJob, error: SurtitleError) -> None:
        self.answers.append((job, error.code))

    def receive_translation(self, job: TranslationJob, translation: Translation) -> None:
        self.answers.append((job, translation.text))

    def receive_translation_failure(self, job: TranslationJob, error: SurtitleError) -> None:
        self.answers.append((job, error.code))


class Desk:
    """Jobs with fake models, and what became of them."""

    def __init__(self, *, patience: float = 20.0, pause: float = 0.001) -> None:
        self.session = Told()
        self.recognizer = FakeRecognizer()
        self.translator = FakeTranslator()
        self.progress = 0
        self.answered = asyncio.Event()
        self.broken: list[Exception] = []
        self.jobs = Jobs(
            self.session,
            self.recognizer,
            self.translator,
            patience=patience,
            pause=pause,
            guarded=self._guarded,
            progressed=self._progressed,
        )

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - to be looked at
            self.broken.append(error)

    def _progressed(self) -> None:
        self.progress += 1
        self.answered.set()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """In here jobs are asked for; after it all have been answered."""
        async with asyncio.timeout(20):
            yield
            while self.jobs.tasks:
                await asyncio.wait(self.jobs.tasks)
        assert self.broken == []
        assert self.progress == len(self.session.answers)


def heard(text: str, priority: Priority = Priority.FINAL, revision: int = 0) -> RecognitionJob:
    audio = TONES.speak(text) if text else np.zeros(0, np.float32)
    return RecognitionJob(
        session="s", segment=0, revision=revision, audio=audio, priority=priority, language="en"
    )


def written(
    text: str, target: str = "pt", priority: Priority = Priority.FINAL, revision: int = 0
) -> TranslationJob:
    return TranslationJob(
        session="s",
        segment=0,
        revision=revision,
        text=text,
        source="en",
        target=target,
        priority=priority,
    )


async def test_answers_come_as_they_are_ready_and_nobody_waits_for_another() -> None:
    desk = Desk()
    first, second = heard("alpha bravo"), written("Hello.")
    desk.recognizer.gate.shut()
    async with desk.open():
        desk.jobs.recognize(first)
        desk.jobs.translate(second)
        await desk.recognizer.gate.arrived()
        await desk.answered.wait()
        assert desk.session.answers == [(second, "[pt] HELLO.")]
        desk.recognizer.gate.open()
    assert desk.session.answers[1:] == [(first, "alpha bravo")]


async def test_a_failure_is_an_answer() -> None:
    desk = Desk()
    desk.recognizer.fail_next(RecognitionFailed("once"))
    desk.translator.fail_next(TranslationFailed("once"))
    async with desk.open():
        desk.jobs.recognize(heard("alpha"))
        desk.jobs.translate(written("Hello."))
    told = {code for _, code in desk.session.answers}
    assert told == {"recognition_failed", "translation_failed"}


async def test_what_may_pass_is_told_of_a_final_after_a_moment_and_of_a_partial_at_once() -> None:
    desk = Desk(pause=3600)
    partial, final = heard("alpha", Priority.PARTIAL), heard("bravo", revision=1)
    desk.recognizer.fail_next(RecognitionFailed("once"), RecognitionFailed("once"))
    desk.jobs.recognize(final)
    desk.jobs.recognize(partial)
    async with asyncio.timeout(20):
        await desk.answered.wait()
    assert desk.session.answers == [(partial, "recognition_failed")]
    (waiting,) = (task for task in desk.jobs.tasks if not task.done())
    waiting.cancel()


@pytest.mark.parametrize(
    ("priority", "recognised", "translated"),
    [
        (Priority.FINAL, "alpha", "[pt] HELLO."),
        (Priority.PARTIAL, "overloaded", "overloaded"),
    ],
)
async def test_where_a_queue_is_full_only_what_must_not_be_lost_is_asked_for_again(
    priority: Priority, recognised: str, translated: str
) -> None:
    desk = Desk()
    desk.recognizer.fail_next(*[Overloaded("full")] * 3)
    desk.translator.fail_next(*[Overloaded("full")] * 3)
    async with desk.open():
        desk.jobs.recognize(heard("alpha", priority))
        desk.jobs.translate(written("Hello.", priority=priority))
    answers = {type(job): answer for job, answer in desk.session.answers}
    assert answers == {RecognitionJob: recognised, TranslationJob: translated}


async def test_a_partial_that_takes_too_long_is_given_up_and_a_final_is_not() -> None:
    desk = Desk(patience=0.01)
    partial, final = heard("alpha", Priority.PARTIAL), heard("alpha bravo", revision=1)
    desk.recognizer.gate.shut()
    async with desk.open():
        desk.jobs.recognize(partial)
        desk.jobs.recognize(final)
        await desk.answered.wait()
        assert desk.session.answers == [(partial, "overloaded")]
        desk.recognizer.gate.open()
    assert desk.session.answers[1:] == [(final, "alpha bravo")]


async def test_what_breaks_is_left_to_the_guard() -> None:
    desk = Desk()
    desk.session.fault = ZeroDivisionError()
    desk.jobs.recognize(heard("alpha"))
    await asyncio.wait(desk.jobs.tasks)
    assert [type(error) for error in desk.broken] == [ZeroDivisionError]
    assert desk.session.answers == []
    assert desk.progress == 0


async def test_a_retry_is_not_forgotten_when_the_first_try_ends() -> None:
    desk = Desk()
    job = heard("alpha")
    desk.jobs.recognize(job)
    (first,) = desk.jobs.tasks
    desk.recognizer.gate.shut()
    desk.jobs.recognize(job)
    (second,) = desk.jobs.tasks
    first.cancel()
    await asyncio.wait([first])
    assert desk.jobs.tasks == [second]
    second.cancel()
    await asyncio.wait([second])
    assert desk.jobs.tasks == []


async def test_work_that_is_given_up_before_it_begins_never_begins() -> None:
    desk = Desk()
    begun = []

    async def work() -> None:
        begun.append(True)

    desk.jobs._start(("job",), work)
    (task,) = desk.jobs.tasks
    task.cancel()
    await asyncio.wait([task])
    assert not begun
    assert not desk.jobs.tasks
