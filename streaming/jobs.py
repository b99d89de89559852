"""What a session asks of recogniser and translator: a task for each question, until it is answered.

Whoever asks is never waited for: the answer goes to the session when it comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from streaming.errors import Overloaded, SurtitleError
from streaming.ports import Recognizer, Translator
from streaming.session import StreamSession
from streaming.types import Priority, RecognitionJob, TranslationJob

T = TypeVar("T")


class Jobs:
    """The open questions of one session.

    A partial is waited for ``patience`` seconds, and where a queue is full a final is asked for
    again after ``pause``. The session learns as much later that a final could not be recognised,
    when it is worth asking again: what broke then has a moment to pass. ``progressed`` is called
    after each answer; ``guarded`` around each task sees to what breaks.
    """

    def __init__(
        self,
        session: StreamSession,
        recognizer: Recognizer,
        translator: Translator,
        *,
        patience: float,
        pause: float,
        guarded: Callable[[Callable[[], Awaitable[None]]], Coroutine[Any, Any, None]],
        progressed: Callable[[], None],
    ) -> None:
        self._session = session
        self._recognizer = recognizer
        self._translator = translator
        self._patience = patience
        self._pause = pause
        self._guarded = guarded
        self._progressed = progressed
        self._tasks: dict[tuple[Any, ...], asyncio.Task[None]] = {}

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Those that wait; who ends the session is to cancel them."""
        return list(self._tasks.values())

    def recognize(self, job: RecognitionJob) -> None:
        """Have a job of the session recognised. Returns at once."""
        self._start((job.segment, job.revision, job.task), partial(self._recognize, job))

    def translate(self, job: TranslationJob) -> None:
        """Have a job of the session translated. Returns at once."""
        self._start((job.segment, job.revision, "to", job.target), partial(self._translate, job))

    def _start(self, key: tuple[Any, ...], work: Callable[[], Awaitable[None]]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks[key] = task

        def forget(done: asyncio.Task[None]) -> None:
            # A retry of the same job may stand in its place by now.
            if self._tasks.get(key) is done:
                del self._tasks[key]

        task.add_done_callback(forget)

    async def _recognize(self, job: RecognitionJob) -> None:
        hasty = job.priority is Priority.PARTIAL
        try:
            async with asyncio.timeout(self._patience if hasty else None):
                hypothesis = await self._insist(
                    job.priority, lambda: self._recognizer.recognize(job)
                )
        except TimeoutError:
            late = Overloaded(f"no answer within {self._patience:g} s")
            self._session.receive_recognition_failure(job, late)
        except SurtitleError as error:
            if error.retryable and not hasty:
                await asyncio.sleep(self._pause)
            self._session.receive_recognition_failure(job, error)
        else:
            self._session.receive_hypothesis(job, hypothesis)
        self._progressed()

    async def _translate(self, job: TranslationJob) -> None:
        try:
            translation = await self._insist(job.priority, lambda: self._translator.translate(job))
        except SurtitleError as error:
            self._session.receive_translation_failure(job, error)
        else:
            self._session.receive_translation(job, translation)
        self._progressed()

    async def _insist(self, priority: Priority, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask; and where a queue is full, ask again for what must not be lost."""
        while True:
            try:
                return await ask()
            except Overloaded as error:
                if priority is not Priority.FINAL:
                    raise
                await asyncio.sleep(error.retry_after or self._pause)
