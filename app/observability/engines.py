"""The model ports, with whoever wants to know told of every answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from streaming.errors import Superseded, SurtitleError
from streaming.ports import Recognizer, Translator
from streaming.types import Hypothesis, Pressure, RecognitionJob, Translation, TranslationJob

J = TypeVar("J")
R = TypeVar("R")

Clock = Callable[[], float]
Failed = Callable[[SurtitleError], None]


@dataclass(frozen=True, slots=True)
class Answered(Generic[J, R]):
    """A question and its answer, and when they came on a monotonic clock, in seconds."""

    job: J
    answer: R
    asked: float
    answered: float

    @property
    def seconds(self) -> float:
        return self.answered - self.asked


Recognised = Answered[RecognitionJob, Hypothesis]
Translated = Answered[TranslationJob, Translation]


def _ignored(_: SurtitleError) -> None:
    pass


class ObservedRecognizer:
    """A :class:`~streaming.ports.Recognizer` around another.

    ``failed`` is told of errors, but not of ``Superseded``: nothing has failed then.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        answered: Callable[[Recognised], None],
        failed: Failed = _ignored,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self._recognizer: Final = recognizer
        self._answered = answered
        self._failed = failed
        self._clock = clock

    @property
    def model(self) -> str:
        return self._recognizer.model

    @property
    def languages(self) -> frozenset[str]:
        return self._recognizer.languages

    @property
    def translates(self) -> bool:
        return self._recognizer.translates

    @property
    def pressure(self) -> Pressure:
        return self._recognizer.pressure

    async def recognize(self, job: RecognitionJob) -> Hypothesis:
        asked = self._clock()
        try:
            heard = await self._recognizer.recognize(job)
        except SurtitleError as error:
            if not isinstance(error, Superseded):
                self._failed(error)
            raise
        self._answered(Answered(job, heard, asked, self._clock()))
        return heard


class ObservedTranslator:
    """A :class:`~streaming.ports.Translator` around another, likewise."""

    def __init__(
        self,
        translator: Translator,
        answered: Callable[[Translated], None],
        failed: Failed = _ignored,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self._translator: Final = translator
        self._answered = answered
        self._failed = failed
        self._clock = clock

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        return self._translator.pairs

    async def translate(self, job: TranslationJob) -> Translation:
        asked = self._clock()
        try:
            translation = await self._translator.translate(job)
        except SurtitleError as error:
            if not isinstance(error, Superseded):
                self._failed(error)
            raise
        self._answered(Answered(job, translation, asked, self._clock()))
        return translation
