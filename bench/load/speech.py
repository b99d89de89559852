"""The pool of utterances a run speaks, with what is known of each from listening offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.corpus import Clip, Errors, errors, utterances
from bench.load.dialects import Encoding
from bench.load.schedule import choose
from bench.metrics import Spoken
from bench.quality.offline import reading
from bench.quality.sounds import with_tail
from bench.replay import FRAME, frames
from inference.models import SpeechModel
from streaming.types import SAMPLE_RATE, Audio

GAP: Final = 1.2
"""Seconds between two utterances of a stream."""
LANGUAGE: Final = "en"
_SHORTEST, _LONGEST = 2.0, 15.0
# One can't tell whether a number was heard by its spelling.
_LEFT_OUT: Final = frozenset({"digits", "number-format", "numbers", "single-word", "telephone-8k"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One recording as it is spoken: with the pause behind it, whole frames long."""

    clip: str
    text: str
    audio: Audio
    words: tuple[Spoken, ...]
    """What the model heard offline, and when it was said, in seconds of the utterance."""
    speech: tuple[float, float]
    """The first and the last speech by Silero, in seconds of the utterance."""
    offline: Errors

    @property
    def seconds(self) -> float:
        return len(self.audio) / SAMPLE_RATE

    @property
    def recognisable(self) -> bool:
        """Whether the model, even offline, gets any word as the reference spells it."""
        return self.offline.words > self.offline.substitutions + self.offline.deletions


def fitting(clips: Sequence[Clip]) -> list[Clip]:
    """The English utterances of a length and kind that a pool is drawn from."""
    return [
        clip
        for clip in utterances(clips, LANGUAGE)
        if not clip.tags & _LEFT_OUT and _SHORTEST <= clip.seconds <= _LONGEST
    ]


async def pool(
    clips: Sequence[Clip], *, seconds: float, seed: int, model: SpeechModel, cache: Path
) -> list[Utterance]:
    """Draw utterances that together last ``seconds``, and listen to them offline.

    Raises ``ValueError`` when there is none.
    """
    found = fitting(clips)
    if not found:
        raise ValueError("the corpus has no English utterances of 2 to 15 s with a transcript")
    lengths = [clip.seconds + GAP for clip in found]
    made = []
    async with reading(model, cache) as read:
        for index in choose(lengths, seconds=seconds, seed=seed):
            clip = found[index]
            audio = clip.audio()
            heard = await read(audio, LANGUAGE)
            if not heard.speech or not heard.words:
                continue  # nothing is measured where even the whole recording tells nothing
            made.append(
                Utterance(
                    clip=clip.id,
                    text=clip.text or "",
                    audio=spaced(audio),
                    words=heard.words,
                    speech=(heard.speech[0][0], heard.speech[-1][1]),
                    offline=errors(clip.text or "", heard.text, LANGUAGE),
                )
            )
    return made


def spaced(audio: Audio) -> Audio:
    """An utterance with the pause behind it, at its own noise floor: whole frames."""
    samples = len(audio) + round(GAP * SAMPLE_RATE)
    whole = -(-samples // FRAME) * FRAME
    return with_tail(audio, (whole - len(audio)) / SAMPLE_RATE)


def encoded(audio: Audio) -> dict[Encoding, list[bytes]]:
    """The frames of some audio in each encoding. A last frame that is not whole is left out."""
    whole = audio[: len(audio) // FRAME * FRAME].astype("<f4")
    return {
        "s16": [frame for _, frame in frames(whole)],
        "f32": [frame.tobytes() for frame in whole.reshape(-1, FRAME)],
    }


def quiet(seconds: float = 2.0) -> Audio:
    """A quiet room: noise at −65 dBFS."""
    noise = np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))
    return (noise * 10 ** (-65 / 20)).astype(np.float32)
