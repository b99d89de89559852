"""What the speakers say: recordings one after the other, with pauses between."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.chaos.compare import Span
from bench.corpus import Clip, errors
from bench.load.speech import LANGUAGE, spaced
from bench.quality.offline import Read
from streaming.types import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Speech:
    """One stream's audio as 16 kHz s16le, when each utterance of it is spoken, and what it is, as a
    person wrote it down.
    """

    audio: bytes
    spans: tuple[Span, ...]
    texts: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return len(self.audio) / 2 / SAMPLE_RATE


def speeches(clips: Sequence[Clip], *, count: int, seconds: float, seed: int) -> list[Speech]:
    """``count`` different streams of at least ``seconds`` each, drawn from some clips."""
    draw = random.Random(seed)  # noqa: S311 - no secret
    return [_speech(clips, seconds, draw) for _ in range(count)]


async def heard_right(clips: Sequence[Clip], read: Read) -> list[Clip]:
    """The recordings that the model alone hears word for word as a person wrote them down. What it
    mishears by itself it hears one way here and another there, and says nothing of faults.
    """
    return [
        clip
        for clip in clips
        if clip.text
        and errors(clip.text, (await read(clip.audio(), LANGUAGE)).text, LANGUAGE).rate == 0
    ]


def _speech(clips: Sequence[Clip], seconds: float, draw: random.Random) -> Speech:
    parts: list[bytes] = []
    spans: list[Span] = []
    texts: list[str] = []
    order: list[Clip] = []
    at = 0.0
    while at < seconds:
        order = order or draw.sample(list(clips), len(clips))
        clip = order.pop()
        audio = spaced(clip.audio())
        end = at + len(audio) / SAMPLE_RATE
        spans.append(Span(at, end))
        texts.append(clip.text or "")
        parts.append(np.round(np.clip(audio, -1, 1) * 32767).astype("<i2").tobytes())
        at = end
    return Speech(b"".join(parts), tuple(spans), tuple(texts))
