"""One-shot transcription of a whole recording, with the streaming server's own models.

Speech is found, cut at silences into pieces the recogniser can read, recognised a few pieces at a
time behind everything live (``Priority.OFFLINE``), and put together as sentences.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from app.concurrency import map_bounded
from app.regions import Span, pieces
from app.sentences import Segment, from_text, from_words, shifted
from streaming.errors import ModelUnavailable, Overloaded, PairUnsupported, TranslationFailed
from streaming.ports import LanguageCatalogue, Recognizer, Translator, VoiceDetector
from streaming.types import (
    SAMPLE_RATE,
    WINDOW,
    Audio,
    Hypothesis,
    Priority,
    Probabilities,
    RecognitionJob,
    Route,
    Task,
    Translation,
    TranslationJob,
)

_AT_ONCE: Final = 4
"""Pieces of one recording in the queue at a time."""
_DETECT_WINDOWS: Final = 512
"""Windows (16 s) in one call of the voice detector, so that live streams get their turn."""
_ELECTION: Final = 3
"""Pieces that are heard before the language of a recording is settled."""
_RETRY_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class TranslatedTranscript:
    """A transcript in another language. Segments need not match the original's one to one."""

    target: str
    text: str
    segments: tuple[Segment, ...]
    engine: str = ""
    """What made it; several, where one took over from another, are joined by ``, ``."""
    stand_in: bool = False
    """Whether something else made it than usually does."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said. ``language`` is None when nothing was and none was given."""

    text: str
    language: str | None
    duration: float
    segments: tuple[Segment, ...]
    translation: TranslatedTranscript | None = None


@dataclass(frozen=True, slots=True)
class _Heard:
    span: Span
    hypothesis: Hypothesis


class Transcriber:
    """Transcribes recordings, ``parallel`` at once; of further ones ``waiting`` may wait.

    A decoded recording is large (an hour is 230 MB): hold a :meth:`slot` also while decoding.
    """

    def __init__(
        self,
        *,
        recognizer: Recognizer,
        detector: VoiceDetector,
        translator: Translator,
        languages: LanguageCatalogue,
        parallel: int = 2,
        waiting: int = 16,
    ) -> None:
        self._recognizer = recognizer
        self._detector = detector
        self._translator = translator
        self._languages = languages
        self._free = asyncio.Semaphore(parallel)
        self._room = parallel + waiting

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Leave to have a recording in memory. Raises ``Overloaded`` when too many wait for it."""
        if not self._room:
            raise Overloaded(
                "Too many recordings are being transcribed already.", retry_after=_RETRY_SECONDS
            )
        self._room -= 1
        try:
            async with self._free:
                yield
        finally:
            self._room += 1

    async def transcribe(
        self,
        audio: Audio,
        *,
        language: str | None = None,
        target: str | None = None,
        tenant: str = "",
    ) -> Transcript:
        """Transcribe mono 16 kHz audio of any length, and translate it if a target is given.

        ``language`` and ``target`` are codes of the catalogue. Raises ``PairUnsupported`` when
        nothing leads from what is spoken to the target, and what the models raise.
        """
        job = _Job(self._recognizer, audio, tenant)
        spans = await self._spans(audio)
        heard: list[_Heard] = []
        if language is None and spans:
            language, heard = await job.elect(spans[:_ELECTION])
            if target is not None:
                self.require_route(language, target)
        heard += await job.hear(spans[len(heard) :], language)
        segments = tuple(_segments(heard, language))
        translation = None
        if target is not None:
            translation = await self._translate(job, spans, segments, language, target)
        return Transcript(
            text=_text(segments),
            language=language,
            duration=round(len(audio) / SAMPLE_RATE, 3),
            segments=segments,
            translation=translation,
        )

    def require_route(self, language: str, target: str) -> Route:
        """How speech in ``language`` becomes ``target``. Raises ``PairUnsupported``."""
        route = self._languages.speech_route(language, target)
        if route is not None:
            return route
        possible = sorted(
            known.target
            for entry in self._languages.listing()
            if entry.code == language
            for known in entry.routes
        )
        raise PairUnsupported(
            f"Nothing here translates speech from {language} to {target}.",
            source=language,
            target=target,
            possible=possible,
        )

    async def _spans(self, audio: Audio) -> list[Span]:
        probabilities = await self._probabilities(audio)
        return await asyncio.to_thread(pieces, probabilities, len(audio))

    async def _probabilities(self, audio: Audio) -> Probabilities:
        padding = -len(audio) % WINDOW
        windows = np.pad(audio, (0, padding)).reshape(-1, WINDOW)
        stream = self._detector.open()
        try:
            parts = [
                await stream.detect(windows[at : at + _DETECT_WINDOWS])
                for at in range(0, len(windows), _DETECT_WINDOWS)
            ]
        finally:
            stream.close()
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    async def _translate(
        self,
        job: _Job,
        spans: Sequence[Span],
        segments: Sequence[Segment],
        language: str | None,
        target: str,
    ) -> TranslatedTranscript:
        if language is None or not segments:
            return TranslatedTranscript(target, "", ())
        route = self.require_route(language, target)
        stand_in = route.spoken and self._languages.text_route(language, target) is not None
        if not route.spoken:
            try:
                return await self._in_target(job, segments, language, target)
            except (TranslationFailed, ModelUnavailable):
                spoken = self._languages.spoken_route(language, target)
                if spoken is None:
                    raise
                route, stand_in = spoken, True
        heard = await job.hear(spans, language, task="translate")
        english = _segments(heard, "en")
        if route.kind == "whisper":
            text = _text(english)
            return TranslatedTranscript(target, text, tuple(english), route.engine, stand_in)
        made = await self._in_target(job, english, "en", target)
        stand_in = stand_in or made.stand_in
        return replace(made, engine=route.engine, stand_in=stand_in)

    async def _in_target(
        self, job: _Job, segments: Sequence[Segment], source: str, target: str
    ) -> TranslatedTranscript:
        if source == target:
            return TranslatedTranscript(target, _text(segments), tuple(segments), "identity")

        async def one(numbered: tuple[int, Segment]) -> tuple[Segment, Translation]:
            number, segment = numbered
            translation = await self._translator.translate(
                TranslationJob(
                    session=job.session,
                    segment=number,
                    revision=0,
                    text=segment.text,
                    source=source,
                    target=target,
                    priority=Priority.OFFLINE,
                    tenant=job.tenant,
                )
            )
            made = Segment(segment.start, segment.end, translation.text, segment.confidence)
            return made, translation

        done = await map_bounded(one, enumerate(segments), limit=_AT_ONCE)
        translated = tuple(segment for segment, _ in done)
        return TranslatedTranscript(
            target,
            _text(translated),
            translated,
            engine=", ".join(dict.fromkeys(translation.engine for _, translation in done)),
            stand_in=any(translation.outage for _, translation in done),
        )


class _Job:
    """The recognition of one recording."""

    def __init__(self, recognizer: Recognizer, audio: Audio, tenant: str) -> None:
        self.session = f"file_{secrets.token_hex(8)}"
        self.tenant = tenant
        self._recognizer = recognizer
        self._audio = audio

    async def elect(self, spans: Sequence[Span]) -> tuple[str, list[_Heard]]:
        """The language of the first pieces, weighed by length and certainty, and what they say.

        A piece that was heard in a language that lost is heard again.
        """
        heard = await self.hear(spans, None)
        votes: defaultdict[str, float] = defaultdict(float)
        for piece in heard:
            votes[piece.hypothesis.language] += (
                piece.hypothesis.language_probability * piece.span.seconds
            )
        language = max(votes, key=lambda code: (votes[code], code))
        settled = [
            piece
            if piece.hypothesis.language == language
            else (await self.hear([piece.span], language))[0]
            for piece in heard
        ]
        return language, settled

    async def hear(
        self, spans: Sequence[Span], language: str | None, *, task: Task = "transcribe"
    ) -> list[_Heard]:
        """Recognise pieces, with word times where the text follows the audio word by word."""

        async def one(span: Span) -> _Heard:
            hypothesis = await self._recognizer.recognize(
                RecognitionJob(
                    session=self.session,
                    segment=span.start,
                    revision=0,
                    audio=self._audio[span.start : span.end],
                    priority=Priority.OFFLINE,
                    language=language,
                    task=task,
                    words=task == "transcribe",
                    tenant=self.tenant,
                )
            )
            return _Heard(span, hypothesis)

        return await map_bounded(one, spans, limit=_AT_ONCE)


def _segments(heard: Sequence[_Heard], language: str | None) -> list[Segment]:
    segments: list[Segment] = []
    for piece in heard:
        found = piece.hypothesis
        spoken = language or found.language
        offset = piece.span.start / SAMPLE_RATE
        if found.words:
            words = shifted(found.words, offset)
            segments += from_words(words, spoken, found.confidence)
        elif found.text:
            end = piece.span.end / SAMPLE_RATE
            segments += from_text(found.text, spoken, offset, end, found.confidence)
    return segments


def _text(segments: Sequence[Segment]) -> str:
    return " ".join(segment.text for segment in segments if segment.text)
