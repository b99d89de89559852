"""A row of a batch for Whisper: as it is asked for, while it is worked on, and answered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.decoding import (
    LIKELY_LANGUAGE,
    Decoded,
    Limits,
    better,
    frames_of,
    is_silence,
    leaks,
    suspicion,
)
from inference.observing import RecognitionBatch
from streaming.types import Hypothesis, Priority, RecognitionJob, Timing, Word

Mel = NDArray[np.float32]
"""Log-mel spectrogram, shape ``(mels, frames)``."""


@dataclass(slots=True, eq=False)
class Row:
    """A job made ready for a batch. Rows of equal ``group`` can share one."""

    job: RecognitionJob
    bucket: int
    prompt: tuple[int, ...] = ()
    beam: int = 1
    """Hypotheses followed side by side; 1 is greedy."""
    favoured: int = 0
    """How many tokens of the prompt, at its beginning, are words to favour and no context."""
    waited: float = 0.0
    """Seconds it waited for a worker."""
    probe: bool = False
    """Asked to know whether the model answers: whatever it answers will do."""

    @property
    def session(self) -> str:
        return self.job.session

    @property
    def segment(self) -> int:
        return self.job.segment

    @property
    def revision(self) -> int:
        return self.job.revision

    @property
    def priority(self) -> Priority:
        return self.job.priority

    @property
    def tenant(self) -> str:
        return self.job.tenant

    @property
    def weight(self) -> float:
        return self.job.weight

    @property
    def final(self) -> bool:
        """Whether the best answer is wanted rather than the quickest."""
        return self.job.priority is not Priority.PARTIAL

    @property
    def group(self) -> tuple[int, bool, int, bool, int]:
        return self.bucket, self.final, len(self.prompt), self.job.words, self.beam


@dataclass(slots=True, eq=False)
class Work:
    """A row while it is worked on."""

    row: Row
    mel: Mel
    language: str = "en"
    language_probability: float = 1.0
    language_known: bool = False
    decoded: Decoded | None = None
    redone: bool = False
    sampled: bool = False
    guards: list[str] = field(default_factory=list)
    """Why what was decoded is not what is answered."""
    encoded: tuple[Any, int] | None = None
    """Encoder output that led to ``decoded``, and the row's index in it."""
    widest: tuple[Any, int] | None = None
    """Likewise of the longest context there is."""
    encode_seconds: float = 0.0
    ending: float = 0.0
    """See :class:`~streaming.types.Hypothesis`."""
    words: tuple[Word, ...] | None = None

    @property
    def samples(self) -> int:
        return len(self.row.job.audio)

    @property
    def answer(self) -> Decoded:
        if self.decoded is None:
            raise RuntimeError("not decoded yet")
        return self.decoded

    @property
    def awaited(self) -> bool:
        """Whether it is a caption's final, whose speaker has perhaps only paused."""
        return self.row.priority is Priority.FINAL and self.row.job.task == "transcribe"

    @property
    def repeats_context(self) -> bool:
        """Whether the answer is perhaps text it was given. Favoured words are meant to be heard."""
        return leaks(self.answer.tokens, self.row.prompt[self.row.favoured :])

    @property
    def unsure_of_language(self) -> bool:
        """Whether a language was found that is neither likely nor the session's own."""
        job = self.row.job
        found = job.language is None and self.language != job.language_hint
        return found and self.language_probability < LIKELY_LANGUAGE

    def doubt(self, limits: Limits) -> str | None:
        """Why the answer should not be believed, or None."""
        return suspicion(self.answer, samples=self.samples, limits=limits, language=self.language)

    def consider(self, answer: Decoded, encoded: tuple[Any, int] | None) -> None:
        """Take another answer, from another encoding, unless the present one is better."""
        self.redone = True
        kept = better(self.answer, answer, samples=self.samples, language=self.language)
        if kept is answer:
            self.decoded, self.encoded = answer, encoded

    def hypothesis(self, timing: Timing) -> Hypothesis:
        """The answer, as it is told."""
        answer, words, ending = self.answer, self.words, self.ending
        if is_silence(answer, self.samples):
            if answer.text.strip():
                self.guards.append("silence")
            answer, words, ending = replace(answer, text="", tokens=()), (), 0.0
        return Hypothesis(
            text=answer.text.strip(),
            language=self.language,
            language_probability=self.language_probability,
            confidence=min(1.0, math.exp(answer.log_probability)) if answer.tokens else 0.0,
            no_speech_probability=answer.no_speech_probability,
            words=(words or ()) if self.row.job.words else None,
            ending=ending,
            timing=timing,
            redone=self.redone,
        )


def report(works: Sequence[Work], encoded: float, decoded: float) -> RecognitionBatch:
    """What is told of a batch that took so many seconds to encode and to decode."""
    frames = works[0].row.bucket
    return RecognitionBatch(
        priority=works[0].row.priority,
        rows=len(works),
        frames=frames,
        padding_frames=sum(max(0, frames - frames_of(work.samples)) for work in works),
        encode_seconds=encoded,
        decode_seconds=decoded,
        widened=sum(work.redone for work in works),
        sampled=sum(work.sampled for work in works),
        guards=tuple(guard for work in works for guard in work.guards),
    )
