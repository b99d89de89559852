"""The values that cross the core's borders.

Audio inside Surtitle has one form: mono float32 at 16 kHz in −1…1. Positions in it are sample
counts from the start of the stream; only the wire speaks of seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE: Final = 16_000
"""Samples per second of all audio inside the server."""

WINDOW: Final = 512
"""Samples in one voice-activity window (32 ms), the size Silero is trained on at 16 kHz."""

Audio = NDArray[np.float32]
"""Mono audio, shape ``(samples,)``, float32 in −1…1 at 16 kHz."""

Windows = NDArray[np.float32]
"""Consecutive windows, shape ``(n, 512)``, float32."""

Probabilities = NDArray[np.float32]
"""Speech probability of each window, shape ``(n,)``, 0…1."""

Task = Literal["transcribe", "translate"]


def seconds(samples: int) -> float:
    """Samples at 16 kHz as seconds, rounded to the millisecond the wire shows."""
    return round(samples / SAMPLE_RATE, 3)


class Priority(IntEnum):
    """What the scheduler serves first. Lower goes first."""

    FINAL = 0
    PARTIAL = 1
    OFFLINE = 2


@dataclass(frozen=True, slots=True)
class Word:
    """A word and when it was said, in seconds from the start of the audio it was found in.

    ``text`` carries its own leading space where the language has one.
    """

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True, eq=False)
class RecognitionJob:
    """One piece of audio to recognise.

    ``(session, segment, revision)`` says who asked: a result is only ever applied to the state
    that asked for it. A job that waits is superseded by a newer one of its segment and task,
    unless it is ``OFFLINE`` or young: the queue keeps the newer.
    """

    session: str
    segment: int
    revision: int
    audio: Audio
    priority: Priority
    language: str | None = None
    """The language the client fixed, or None to detect it."""
    language_hint: str | None = None
    """The language the session has been in; kept unless the audio clearly says otherwise."""
    task: Task = "transcribe"
    prompt: str = ""
    """Text spoken before, for context."""
    vocabulary: tuple[str, ...] = ()
    """Words to favour."""
    words: bool = False
    """Whether word timestamps are wanted."""
    tenant: str = ""
    """Who pays: the unit of fairness above the session."""
    weight: float = 1.0
    """How large the tenant's share is beside others', greater than 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """How much is asked of a recogniser, of late."""

    strain: float = 0.0
    """The share of its workers' time that finals take, 0…1. They are what can't be done without:
    at 1 they can't keep up, whatever else is left out."""
    wait: float = 0.0
    """Seconds that finals wait for a worker. They go before everything else."""
    speakers: int = 0
    """Sessions that had finals."""
    starting: int = 0
    """Sessions in which somebody speaks and that had none yet: the strain is without them."""
    workers: int = 1
    final_seconds: float = 0.2
    """A worker's time for a final of a usual length, as measured when there was no load."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an answer took, by stage, in seconds."""

    queued: float = 0.0
    """From the question to the start of the batch it was answered in."""
    encoded: float = 0.0
    decoded: float = 0.0
    """Of the whole batch: what its rows waited for together."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What the recogniser believes was said in one job's audio.

    ``text`` is stripped at both ends. ``confidence`` is the geometric mean of the tokens'
    probabilities, 0…1.
    """

    text: str
    language: str
    language_probability: float = 1.0
    confidence: float = 1.0
    no_speech_probability: float = 0.0
    words: tuple[Word, ...] | None = None
    ending: float = 0.0
    """How sure it is that the text ends where a sentence does, 0…1: the probability of its last
    punctuation mark, 0 without one. Told of captions' finals only."""
    timing: Timing = Timing()
    redone: bool = False
    """Whether the first decode looked wrong (a loop, a runaway) and more context was used."""


@dataclass(frozen=True, slots=True, eq=False)
class TranslationJob:
    """One text to translate. Identified like :class:`RecognitionJob`, and by its target."""

    session: str
    segment: int
    revision: int
    text: str
    source: str
    target: str
    priority: Priority
    tenant: str = ""
    weight: float = 1.0
    """See :class:`RecognitionJob`."""
    prefix: str = ""
    """The translation shown so far of a text that is still growing: a hint for engines that can
    lean to it, so that what is shown changes less."""


@dataclass(frozen=True, slots=True)
class Translation:
    """A translated text and the engine that made it (for a pivot: the engines, joined by ``+``)."""

    text: str
    engine: str
    outage: int = 0
    """Which outage of the pair's best engine made another one do it; 0 for none."""


RouteKind = Literal["identity", "direct", "pivot", "whisper", "whisper+pivot"]


@dataclass(frozen=True, slots=True)
class Route:
    """How a language pair is served.

    ``spoken`` routes start from the audio (Whisper's translate task, which yields English);
    where the target is not English a text translation from English follows.
    """

    source: str
    target: str
    kind: RouteKind
    engine: str

    @property
    def spoken(self) -> bool:
        return self.kind in ("whisper", "whisper+pivot")


@dataclass(frozen=True, slots=True)
class Language:
    """One language as ``GET /languages`` reports it."""

    code: str
    name: str
    speech: bool
    """Whether it can be spoken to the recogniser."""
    routes: tuple[Route, ...] = field(default=())
    """How each target is reached from it."""
