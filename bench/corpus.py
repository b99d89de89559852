"""Speech with reference transcripts, and how transcripts are compared.

A corpus is a ``manifest.jsonl`` beside its audio files: one JSON object a line with ``id``,
``file``, ``lang``, ``text`` (null: no trustworthy reference; "": no speech), ``seconds`` and
``tags``. The recordings are not part of this repository.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import jiwer
import numpy as np
import soundfile
import soxr
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from streaming.types import SAMPLE_RATE, Audio

MANIFEST_VARIABLE = "SURTITLE_SPEECH"
"""Environment variable naming the folder of a corpus."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One recording."""

    id: str
    path: Path
    lang: str
    text: str | None
    tags: frozenset[str] = field(default=frozenset())
    seconds: float = 0.0

    def audio(self) -> Audio:
        """The recording as mono float32 at 16 kHz."""
        data, rate = soundfile.read(self.path, dtype="float32", always_2d=True)
        mono = data.mean(axis=1)
        if rate != SAMPLE_RATE:
            mono = soxr.resample(mono, rate, SAMPLE_RATE)
        return np.ascontiguousarray(mono, dtype=np.float32)


def default_manifest() -> Path | None:
    """The manifest named by the environment, or the one beside a team's checkout, if there."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get(MANIFEST_VARIABLE) or root.parent / "shared" / "speech")
    manifest = folder / "manifest.jsonl"
    return manifest if manifest.is_file() else None


def read_manifest(manifest: Path) -> list[Clip]:
    """All clips of a manifest, in its order. Raises ``OSError`` or ``ValueError``."""
    clips = []
    for line in manifest.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        clips.append(
            Clip(
                id=row["id"],
                path=manifest.parent / row["file"],
                lang=row["lang"],
                text=row["text"],
                tags=frozenset(row.get("tags", ())),
                seconds=float(row.get("seconds", 0.0)),
            )
        )
    return clips


def utterances(clips: Iterable[Clip], lang: str) -> list[Clip]:
    """The single utterances of a language that may be pooled: with reference, nothing derived."""
    left_out = {"dup-audio", "derived", "concat", "long-form", "turns"}
    return [clip for clip in clips if clip.lang == lang and clip.text and not clip.tags & left_out]


@cache
def _normalizer(lang: str) -> EnglishTextNormalizer | BasicTextNormalizer:
    if lang == "en":
        return EnglishTextNormalizer()
    return BasicTextNormalizer(split_letters=lang in ("ja", "zh"))


def normalize(text: str, lang: str) -> str:
    """Text as Whisper's own evaluation compares it."""
    return str(_normalizer(lang)(text)).strip()


@dataclass(frozen=True, slots=True)
class Errors:
    """How a transcript differs from its reference, in words (characters for ja and zh)."""

    words: int = 0
    """Words of the reference."""
    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0

    def __add__(self, other: Errors) -> Errors:
        return Errors(
            self.words + other.words,
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
        )

    @property
    def total(self) -> int:
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """The word error rate in percent; nan without words."""
        return 100 * self.total / self.words if self.words else float("nan")


def errors(reference: str, hypothesis: str, lang: str) -> Errors:
    """Count the errors over normalised text. No reference, no errors."""
    expected, found = normalize(reference, lang), normalize(hypothesis, lang)
    if not expected:
        return Errors()
    result = jiwer.process_words(expected, found)
    return Errors(
        result.hits + result.substitutions + result.deletions,
        result.substitutions,
        result.deletions,
        result.insertions,
    )


def error_rate(references: Sequence[str], hypotheses: Sequence[str], lang: str) -> float:
    """Pooled word error rate in percent over normalised text (characters for ja and zh)."""
    pairs = zip(references, hypotheses, strict=True)
    return sum((errors(one, other, lang) for one, other in pairs), Errors()).rate
