"""A session with models that answer when the test says so; nothing here waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import numpy as np

from inference.fakes import FakeDetector, Tones, silence, speech_probability
from inference.sentences import sentences
from streaming import wire
from streaming.actions import Action, Close, Decode, Detect, Emit, Recognize, Resume, Translate
from streaming.errors import ResumeUnknown, UnknownLanguage
from streaming.session import StreamSession
from streaming.session_config import SessionConfig
from streaming.types import (
    Audio,
    Hypothesis,
    Language,
    RecognitionJob,
    Route,
    Translation,
    TranslationJob,
)

TONES = Tones()
E = TypeVar("E", bound=wire.Event)


class FakeLanguages:
    """en, pt and de are spoken; en↔pt by text, de→en by speech, de→pt by both; xx by nothing.

    With ``spare``, pt→en can be had from speech, too: it is while ``text_down``.
    """

    def __init__(self, *, spare: bool = False) -> None:
        self.spare = spare
        self.text_down = False

    def spoken(self, tag: str) -> str:
        if tag not in {"en", "pt", "de"}:
            raise UnknownLanguage(f"{tag} is not spoken here")
        return tag

    def target(self, tag: str) -> str:
        if tag not in {"en", "pt", "xx"}:
            raise UnknownLanguage(f"{tag} is no target here")
        return tag

    def speech_route(self, source: str, target: str) -> Route | None:
        kinds: dict[tuple[str, str], Any] = {
            ("en", "pt"): "direct",
            ("pt", "en"): "direct",
            ("de", "en"): "whisper",
            ("de", "pt"): "whisper+pivot",
        }
        if source == target:
            return Route(source, target, "identity", "")
        if self.text_down and self.spoken_route(source, target):
            return self.spoken_route(source, target)
        kind = kinds.get((source, target))
        return Route(source, target, kind, "fake") if kind else None

    def spoken_route(self, source: str, target: str) -> Route | None:
        kinds: dict[tuple[str, str], Any] = {
            ("de", "en"): "whisper",
            ("de", "pt"): "whisper+pivot",
        }
        if self.spare:
            kinds["pt", "en"] = "whisper"
        kind = kinds.get((source, target))
        return Route(source, target, kind, "whisper") if kind else None

    def text_route(self, source: str, target: str) -> Route | None:
        texts = {("en", "pt"), ("pt", "en")}
        return Route(source, target, "direct", "fake") if (source, target) in texts else None

    def sentences(self, text: str, language: str) -> list[str]:
        return sentences(text, language)

    def listing(self) -> tuple[Language, ...]:
        return ()


def speech(*phrases: str, gap: float = 0.8) -> Audio:
    """Phrases of the made-up language with silence around each."""
    parts = [silence(0.4)]
    for phrase in phrases:
        parts += [TONES.speak(phrase), silence(gap)]
    return np.concatenate(parts)


def s16(audio: Audio) -> bytes:
    return np.round(audio * 32767).astype("<i2").tobytes()


class Harness:
    """Drives one session by hand. With ``sparing``, silence is passed over unasked."""

    def __init__(
        self, config: SessionConfig | None = None, *, language: str = "en", sparing: bool = True
    ) -> None:
        self.session = StreamSession(
            "s",
            languages=FakeLanguages(),
            model="fake",
            tenant="t",
            config=config,
            token="rs_secret",
        )
        if sparing:
            self.session.spare(FakeDetector().open().pass_over)
        self.language = language
        self.events: list[wire.Event] = []
        self.recognitions: list[RecognitionJob] = []
        """Asked for and not yet answered."""
        self.asked: list[RecognitionJob] = []
        """All ever asked for."""
        self.translations: list[TranslationJob] = []
        self.decodes: list[Decode] = []
        self.closed: Close | None = None
        self.hold_detection = False
        self.detections: list[Detect] = []
        self.detected = 0
        """Windows that were searched for speech."""

    # -- the client

    def start(self, **fields: Any) -> None:
        self.say(type="start", **fields)

    def say(self, **message: Any) -> None:
        self.session.receive_text(msgspec.json.encode(message))
        self.pump()

    def send(self, data: bytes) -> None:
        self.session.receive_binary(data)
        self.pump()

    def speak(self, *phrases: str) -> None:
        self.send(s16(speech(*phrases)))

    # -- the models

    def pump(self) -> None:
        for action in self.session.actions():
            self._take(action)
        if self.detections and not self.hold_detection:
            self.detect()

    def detect(self) -> None:
        """Answer all detections asked for."""
        while self.detections:
            found = speech_probability(self.detections.pop(0).windows)
            self.detected += len(found)
            self.session.receive_probabilities(found)
            for action in self.session.actions():
                self._take(action)

    def _take(self, action: Action) -> None:
        assert self.closed is None, "an action after the close"
        match action:
            case Emit(event=event):
                self.events.append(event)
            case Detect():
                self.detections.append(action)
            case Decode():
                self.decodes.append(action)
            case Recognize(job=job):
                self.asked.append(job)
                self.recognitions.append(job)
            case Translate(job=translation):
                self.translations.append(translation)
            case Resume():
                self.session.refuse_resume(ResumeUnknown("there is none here"))
                self.pump()
            case Close():
                self.closed = action

    def hear(self, job: RecognitionJob) -> Hypothesis:
        words = TONES.hear(job.audio)
        text = "".join(word.text for word in words)
        return Hypothesis(
            text=text.upper() if job.task == "translate" else text,
            language=job.language or self.language,
            confidence=0.9,
            words=words if job.words else None,
            ending=float(text.endswith((".", "?", "!"))),
        )

    def recognise(self, pick: Callable[[int], int] = lambda _: 0) -> None:
        """Answer one recognition; ``pick`` chooses which of so many."""
        job = self.recognitions.pop(pick(len(self.recognitions)))
        self.session.receive_hypothesis(job, self.hear(job))
        self.pump()

    def translate(self, pick: Callable[[int], int] = lambda _: 0) -> None:
        job = self.translations.pop(pick(len(self.translations)))
        self.session.receive_translation(job, Translation(f"<{job.text}>", "fake"))
        self.pump()

    def settle(self) -> None:
        """Answer everything until nothing is asked any more."""
        while self.recognitions or self.translations:
            while self.recognitions:
                self.recognise()
            while self.translations:
                self.translate()

    # -- what was seen

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def texts(self) -> list[str]:
        return [event.text for event in self.of(wire.FinalEvent)]

    @property
    def codes(self) -> list[str]:
        return [event.code for event in self.of(wire.ErrorEvent)]
