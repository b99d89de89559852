"""Fakes of the ports that behave like the real thing, for tests and for running without models.

Speech is a made-up language in which every word is a tone: :class:`Tones` speaks it and hears it
again, also cut into pieces, resampled and quantised. So a test can speak, send real audio through
all of the server, and know what must come out::

    tones = Tones(("Good", "morning.", "Goodbye."))
    audio = np.concatenate([tones.speak("Good morning."), silence(1.0)])
    recognizer = FakeRecognizer(tones)          # hears "Good morning."

Calls can be held back and failed without sleeping::

    recognizer.gate.shut()                      # calls now wait
    await recognizer.gate.arrived(1)            # until one has come
    recognizer.gate.release()                   # the oldest may go on; open() lets all go
    recognizer.fail_next(RecognitionFailed("no"))
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from streaming.errors import (
    AudioTooLong,
    BrokenStream,
    ModelUnavailable,
    PairUnsupported,
    Superseded,
    SurtitleError,
    UnknownLanguage,
)
from streaming.ports import VoiceStream
from streaming.types import (
    SAMPLE_RATE,
    WINDOW,
    Audio,
    Hypothesis,
    Pressure,
    Priority,
    Probabilities,
    RecognitionJob,
    Translation,
    TranslationJob,
    Windows,
    Word,
)

_SPELLING: Final = (
    "alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november "
    "oscar papa quebec romeo sierra tango uniform victor whiskey xray yankee zulu"
)
_PHRASES: Final = "Hello. Good morning. evening. How are you? One, two, three. Yes. No. Goodbye."
WORDS: Final = (*_SPELLING.split(), *_PHRASES.split())
"""The words :class:`Tones` knows unless told others."""

_TONE: Final = 6 * WINDOW
_PAUSE: Final = 2 * WINDOW
_FRAME: Final = 160
_LOUD: Final = 0.02  # RMS
_SHORTEST: Final = 1280  # samples of a tone that can still be told from its neighbours
_LOWEST, _STEP, _HIGHEST = 300.0, 25.0, 3700.0  # Hz; the highest survives 8 kHz telephony


def silence(seconds: float) -> Audio:
    """Digital silence."""
    return np.zeros(round(seconds * SAMPLE_RATE), dtype=np.float32)


class Tones:
    """A language of up to 137 words, each a tone of 192 ms followed by 64 ms of silence."""

    def __init__(self, words: Sequence[str] = WORDS) -> None:
        self.words = tuple(words)
        if len(set(self.words)) != len(self.words):
            raise ValueError("a word is given twice")
        if _LOWEST + _STEP * (len(self.words) - 1) > _HIGHEST:
            raise ValueError("too many words")

    def speak(self, text: str) -> Audio:
        """The audio of a text of known words, 256 ms each. Raises ``ValueError`` for others."""
        pieces = [silence(0.0)]
        for word in text.split():
            if word not in self.words:
                raise ValueError(f"{word!r} is not one of the words")
            frequency = _LOWEST + _STEP * self.words.index(word)
            time = np.arange(_TONE) / SAMPLE_RATE
            pieces.append((0.3 * np.sin(2 * np.pi * frequency * time)).astype(np.float32))
            pieces.append(np.zeros(_PAUSE, dtype=np.float32))
        return np.concatenate(pieces)

    def hear(self, audio: Audio) -> tuple[Word, ...]:
        """The words in some audio. A tone cut to less than 80 ms is not heard."""
        frames = audio[: len(audio) // _FRAME * _FRAME].reshape(-1, _FRAME)
        loud = np.sqrt(np.mean(np.square(frames), axis=1)) > _LOUD
        edges = np.flatnonzero(np.diff(loud, prepend=False, append=False)) * _FRAME
        found: list[Word] = []
        for start, end in edges.reshape(-1, 2).tolist():
            if end - start < _SHORTEST:
                continue
            tone = audio[start:end] * np.hanning(end - start)
            size = 1 << 16
            peak = int(np.argmax(np.abs(np.fft.rfft(tone, size)))) * SAMPLE_RATE / size
            index = round((peak - _LOWEST) / _STEP)
            if 0 <= index < len(self.words):
                space = " " if found else ""
                word = space + self.words[index]
                found.append(Word(word, start / SAMPLE_RATE, end / SAMPLE_RATE, 0.9))
        return tuple(found)


class Gate:
    """Holds calls back until they are let through, oldest first. Open at first."""

    def __init__(self) -> None:
        self._open = True
        self._held: deque[asyncio.Future[None]] = deque()
        self._arrival = asyncio.Event()

    @property
    def waiting(self) -> int:
        """How many calls are held back now."""
        return sum(not future.done() for future in self._held)

    def shut(self) -> None:
        """From now on calls wait."""
        self._open = False

    def release(self, calls: int = 1) -> None:
        """Let the oldest waiting calls through; the gate stays shut for others."""
        while calls and self._held:
            future = self._held.popleft()
            if not future.done():
                future.set_result(None)
                calls -= 1

    def open(self) -> None:
        """Let all through, now and later."""
        self._open = True
        self.release(len(self._held))

    async def arrived(self, calls: int = 1) -> None:
        """Wait until so many calls are held back."""
        while self.waiting < calls:
            self._arrival.clear()
            await self._arrival.wait()

    def enter(self) -> asyncio.Future[None]:
        """What a call awaits before it goes on. Setting an exception on it fails the call."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._open:
            future.set_result(None)
        else:
            self._held.append(future)
            self._arrival.set()
        return future


class _Scripted:
    """What fakes of models share: a gate, and errors to come."""

    def __init__(self) -> None:
        self.gate = Gate()
        self._errors: deque[SurtitleError] = deque()

    def fail_next(self, *errors: SurtitleError) -> None:
        """The next calls that pass the gate raise these, one each."""
        self._errors.extend(errors)

    def _raise_scripted(self) -> None:
        if self._errors:
            raise self._errors.popleft()


class FakeRecognizer(_Scripted):
    """Hears :class:`Tones`. ``task="translate"`` yields the text in capitals.

    Without a language it says ``detected``, unless the job carries a hint it knows. A partial that
    waits at the gate is superseded by a newer one of its segment. ``jobs`` is all it was asked.
    """

    def __init__(
        self,
        tones: Tones | None = None,
        *,
        model: str = "fake",
        languages: Iterable[str] = ("en", "pt", "de"),
        translates: bool = True,
        detected: str = "en",
    ) -> None:
        super().__init__()
        self.tones = tones or Tones()
        self.detected = detected
        self.jobs: list[RecognitionJob] = []
        self.pressure = Pressure()
        self._model = model
        self._languages = frozenset(languages)
        self._translates = translates
        self._partials: dict[tuple[str, int], asyncio.Future[None]] = {}

    @property
    def model(self) -> str:
        return self._model

    @property
    def languages(self) -> frozenset[str]:
        return self._languages

    @property
    def translates(self) -> bool:
        return self._translates

    async def recognize(self, job: RecognitionJob) -> Hypothesis:
        """See the port."""
        if job.language is not None and job.language not in self._languages:
            raise UnknownLanguage(f"{self._model} does not know the language {job.language!r}.")
        if job.task == "translate" and not self._translates:
            raise PairUnsupported(f"{self._model} does not translate.")
        if len(job.audio) > 30 * SAMPLE_RATE:
            raise AudioTooLong("At most 30 s of audio can be recognised at once.")
        self.jobs.append(job)
        await self._turn(job)
        self._raise_scripted()
        words = self.tones.hear(job.audio)
        if job.task == "translate":
            words = tuple(Word(w.text.upper(), w.start, w.end, w.probability) for w in words)
        hint = job.language_hint if job.language_hint in self._languages else None
        text = "".join(word.text for word in words)
        return Hypothesis(
            text=text,
            ending=float(job.priority is Priority.FINAL and text.endswith((".", "?", "!"))),
            language=job.language or hint or self.detected,
            confidence=0.9 if words else 0.0,
            no_speech_probability=0.0 if words else 1.0,
            words=words if job.words else None,
        )

    async def _turn(self, job: RecognitionJob) -> None:
        turn = self.gate.enter()
        if job.priority is Priority.PARTIAL:
            segment = (job.session, job.segment)
            older = self._partials.get(segment)
            if older is not None and not older.done():
                older.set_exception(Superseded("A newer request took its place."))
            self._partials[segment] = turn
        await turn


def speech_probability(windows: Windows) -> Probabilities:
    """A probability by level alone: 0.01 below −60 dBFS RMS, 0.99 above −30, linear between."""
    rms = np.sqrt(np.mean(np.square(windows, dtype=np.float64), axis=1))
    level = 20 * np.log10(np.maximum(rms, 1e-10))
    return np.asarray(np.clip((level + 60) / 30, 0.01, 0.99), dtype=np.float32)


class _FakeVoiceStream:
    def __init__(self) -> None:
        self._closed = False

    def pass_over(self, windows: Windows) -> int:
        """See the port. What is silent needs no look."""
        silent = ~windows.reshape(-1, WINDOW).any(axis=1)
        return 0 if self._closed else int(np.logical_and.accumulate(silent).sum())

    def submit(self, windows: Windows) -> Probabilities:
        if self._closed:
            raise ModelUnavailable("This voice stream is closed.")
        return speech_probability(windows.reshape(-1, WINDOW))

    async def detect(self, windows: Windows) -> Probabilities:
        return self.submit(windows)

    def close(self) -> None:
        self._closed = True


class FakeDetector:
    """Tells speech by its level: :func:`speech_probability`. Without state."""

    def open(self) -> VoiceStream:
        return _FakeVoiceStream()


class FakeTranslator(_Scripted):
    """``"Good morning."`` → ``"[pt] GOOD MORNING."``. ``jobs`` is all it was asked."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = (("en", "pt"), ("pt", "en"))) -> None:
        super().__init__()
        self.jobs: list[TranslationJob] = []
        self.version = "fake-1"
        self._pairs = frozenset(pairs)

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        return self._pairs

    async def translate(self, job: TranslationJob) -> Translation:
        """See the port."""
        if (job.source, job.target) not in self._pairs:
            raise PairUnsupported(f"There is no way from {job.source!r} to {job.target!r} here.")
        self.jobs.append(job)
        await self.gate.enter()
        self._raise_scripted()
        text = f"[{job.target}] {job.text.upper()}" if job.text.strip() else ""
        return Translation(text=text, engine="fake")


class FakeContainerDecoder:
    """A container that is ``b"FAKE"`` and then 16-bit little-endian PCM at 16 kHz.

    :meth:`wrap` makes one. Anything else raises ``BrokenStream``, as does a half sample at the end.
    """

    MAGIC: Final = b"FAKE"

    def __init__(self) -> None:
        self._buffer = b""
        self._headed = False

    @classmethod
    def wrap(cls, audio: Audio) -> bytes:
        return cls.MAGIC + np.round(audio * 32767).astype("<i2").tobytes()

    async def feed(self, data: bytes) -> Audio:
        """See the port."""
        self._buffer += data
        if not self._headed:
            if not self.MAGIC.startswith(self._buffer[: len(self.MAGIC)]):
                raise BrokenStream("This is no FAKE container.")
            if len(self._buffer) < len(self.MAGIC):
                return silence(0.0)
            self._headed = True
            self._buffer = self._buffer[len(self.MAGIC) :]
        whole = len(self._buffer) // 2 * 2
        samples = np.frombuffer(self._buffer[:whole], dtype="<i2")
        self._buffer = self._buffer[whole:]
        return (samples / 32767).astype(np.float32)

    async def flush(self) -> Audio:
        """See the port."""
        if not self._headed or self._buffer:
            raise BrokenStream("The container ended in the middle.")
        return silence(0.0)

    def close(self) -> None:
        """See the port."""
