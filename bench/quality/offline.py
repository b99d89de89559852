"""The same model on the whole recording at once: what streaming is compared with.

faster-whisper's own ``WhisperModel``, greedy, without temperature fallback, the language given,
no voice-activity filter, ``condition_on_previous_text`` off. A second pass has word timestamps,
which tell when each word was over. Where speech is, is read from Silero's probabilities over the
whole recording. All of it is kept in a cache, by the audio and the model.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import msgspec
import numpy as np
from faster_whisper import WhisperModel

from bench.metrics import Spoken
from inference.models import SpeechModel
from inference.silero import SileroDetector
from streaming.ports import VoiceDetector
from streaming.types import SAMPLE_RATE, WINDOW, Audio

_FORMAT = "2"
SPEECH = 0.5
"""Silero probability at and above which a window is speech."""


@dataclass(frozen=True, slots=True)
class Offline:
    """What the model makes of a whole recording. Times are in seconds."""

    text: str
    words: tuple[Spoken, ...]
    speech: tuple[tuple[float, float], ...]
    """Uninterrupted stretches of windows with speech."""

    def speech_end(self, start: float, end: float) -> float | None:
        """Where the last speech between two times ends, or None if there is none."""
        ends = [min(last, end) for first, last in self.speech if first < end and last > start]
        return max(ends, default=None)


Read = Callable[[Audio, str | None], Awaitable[Offline]]
"""Decodes a recording in a language; without one nothing is said in it."""


class OfflineReader:
    """Decodes recordings, or remembers having done so. Blocking."""

    def __init__(self, model: Path, name: str, compute_type: str, cache: Path) -> None:
        self._path = model
        self._compute_type = compute_type
        version = importlib.metadata.version("faster-whisper")
        self._key = f"{_FORMAT} {name} {compute_type} {version}"
        self._cache = cache

    @cached_property
    def _model(self) -> WhisperModel:
        return WhisperModel(
            str(self._path), device="cpu", compute_type=self._compute_type, cpu_threads=1
        )

    async def read(self, audio: Audio, language: str | None, detector: VoiceDetector) -> Offline:
        """Decode a recording. Without a language nothing is said in it: only ``speech`` is told."""
        digest = hashlib.sha256(f"{self._key} {language}".encode() + audio.tobytes()).hexdigest()
        file = self._cache / f"{digest[:32]}.json"
        if file.exists():
            return msgspec.json.decode(file.read_bytes(), type=Offline)
        text, words = ("", ()) if language is None else self._decode(audio, language)
        offline = Offline(text, words, await _speech(audio, detector))
        self._cache.mkdir(parents=True, exist_ok=True)
        scratch = file.with_suffix(f".{id(offline)}")
        scratch.write_bytes(msgspec.json.encode(offline))
        scratch.replace(file)
        return offline

    def _decode(self, audio: Audio, language: str) -> tuple[str, tuple[Spoken, ...]]:
        passes = []
        for timestamps in (False, True):
            segments, _ = self._model.transcribe(
                audio,
                language=language,
                beam_size=1,
                temperature=0.0,
                condition_on_previous_text=False,
                word_timestamps=timestamps,
            )
            passes.append(list(segments))
        text = " ".join(segment.text.strip() for segment in passes[0])
        words = [word for segment in passes[1] for word in segment.words or ()]
        return text, tuple(
            Spoken(word.word.strip(), round(float(word.end), 3), round(float(word.start), 3))
            for word in words
        )


@asynccontextmanager
async def reading(model: SpeechModel, cache: Path) -> AsyncIterator[Read]:
    """Read recordings with an int8 model; what was read is remembered in ``cache``."""
    reader = OfflineReader(model.path, model.name, "int8", cache / "offline")
    detector = SileroDetector.load()
    detector.start()
    try:
        yield partial(reader.read, detector=detector)
    finally:
        await detector.close()


async def _speech(audio: Audio, detector: VoiceDetector) -> tuple[tuple[float, float], ...]:
    padded = np.pad(audio, (0, -len(audio) % WINDOW)).reshape(-1, WINDOW)
    stream = detector.open()
    found = [await stream.detect(padded[at : at + 256]) for at in range(0, len(padded), 256)]
    stream.close()
    loud = np.concatenate(found) >= SPEECH if found else np.zeros(0, dtype=bool)
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False))
    spans = (edges * WINDOW / SAMPLE_RATE).reshape(-1, 2).tolist()
    return tuple((first, last) for first, last in spans)
