"""The planner of translations, with a translator that answers when the test says so."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from streaming.actions import Action, Emit, Recognize, Translate
from streaming.errors import SurtitleError
from streaming.translations import Translations
from streaming.types import RecognitionJob, Translation, TranslationJob
from streaming.wire import ErrorEvent, TranslationEvent, WarningEvent
from tests.streaming.harness import FakeLanguages

NO_AUDIO = np.zeros(0, np.float32)


def translated(text: str) -> str:
    """What the translator of these tests makes of a text."""
    return " ".join(f"{word}o" for word in text.split())


@dataclass
class Desk:
    """A planner, and the jobs it wants done."""

    targets: tuple[str, ...] = ("pt",)
    jobs: list[TranslationJob] = field(default_factory=list)
    asked: list[TranslationJob] = field(default_factory=list)
    spoken: list[RecognitionJob] = field(default_factory=list)
    events: list[TranslationEvent] = field(default_factory=list)
    errors: list[ErrorEvent] = field(default_factory=list)
    warnings: list[WarningEvent] = field(default_factory=list)
    languages: FakeLanguages = field(default_factory=FakeLanguages)
    actions: list[Action] = field(default_factory=list)
    planner: Translations = field(init=False)

    def __post_init__(self) -> None:
        self.planner = Translations(
            session="s",
            tenant="t",
            languages=self.languages,
            actions=self.actions,
            targets=self.targets,
        )

    def interim(self, stable: str, unstable: str = "", language: str = "en") -> None:
        self.planner.interim(0, language, stable, unstable)
        self.pump()

    def final(self, text: str, language: str = "en", segment: int = 0) -> None:
        self.planner.final(segment, language, text, NO_AUDIO, 0)
        self.pump()

    def pump(self) -> None:
        for action in self.actions:
            match action:
                case Translate(job=job):
                    assert job not in self.jobs
                    self.jobs.append(job)
                    self.asked.append(job)
                case Recognize(job=recognition):
                    self.spoken.append(recognition)
                case Emit(event=TranslationEvent() as event):
                    self.events.append(event)
                case Emit(event=ErrorEvent() as error):
                    self.errors.append(error)
                case Emit(event=WarningEvent() as warning):
                    self.warnings.append(warning)
        self.actions.clear()

    def answer(self, number: int = 0, text: str | None = None) -> TranslationJob:
        job = self.jobs.pop(number)
        answer = translated(job.text) if text is None else text
        self.planner.receive(job, Translation(answer, "fake"))
        self.pump()
        return job

    def fail(self, error: SurtitleError, number: int = 0) -> None:
        self.planner.receive_failure(self.jobs.pop(number), error)
        self.pump()

    def answer_all(self) -> None:
        while self.jobs:
            self.answer()

    @property
    def last(self) -> TranslationEvent:
        return self.events[-1]

    @property
    def texts(self) -> list[str]:
        return [job.text for job in self.asked]
