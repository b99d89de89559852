"""What the core needs from the outside, as protocols.

Adapters live in ``inference/``; each port has one contract suite in ``tests/`` that is run
against the fake and the real adapter alike. Methods raise only
:class:`~streaming.errors.SurtitleError`; cancelling a call removes its job from any queue.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from streaming.types import (
    Audio,
    Hypothesis,
    Language,
    Pressure,
    Probabilities,
    RecognitionJob,
    Route,
    Translation,
    TranslationJob,
    Windows,
)


class VoiceStream(Protocol):
    """One stream's voice-activity state. Streams never share state."""

    def submit(self, windows: Windows) -> Probabilities | Awaitable[Probabilities]:
        """Speech probability of each of the next windows: at once where no model is needed.

        To be called on an event loop, and again only when the answer before has come. Raises
        ``ModelUnavailable``, as does what it returns.
        """
        ...

    def pass_over(self, windows: Windows) -> int:
        """Answer 0 for as many of the next windows as need no model, from the first on.

        Returns how many those are; they are not to be submitted. Quick: most sound is of rooms in
        which nobody speaks. To be called only when no answer is waited for.
        """
        ...

    async def detect(self, windows: Windows) -> Probabilities:
        """What :meth:`submit` answers, once it has come."""
        ...

    def close(self) -> None:
        """Free the state. Idempotent."""
        ...


class VoiceDetector(Protocol):
    """Voice-activity detection for any number of streams, batched across them."""

    def open(self) -> VoiceStream: ...


class Recognizer(Protocol):
    """Speech to text, batched across sessions."""

    @property
    def model(self) -> str:
        """The model's name, as clients are told it."""
        ...

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that can be recognised."""
        ...

    @property
    def translates(self) -> bool:
        """Whether ``task="translate"`` (any language → English) is possible."""
        ...

    @property
    def pressure(self) -> Pressure:
        """How much is asked of it. Cheap."""
        ...

    async def recognize(self, job: RecognitionJob) -> Hypothesis:
        """Recognise one job's audio (at most 30 s).

        Raises ``Superseded`` when a newer job of the same segment and task took its place,
        ``RecognitionFailed``, ``Overloaded`` or ``ModelUnavailable``.
        """
        ...


class Translator(Protocol):
    """Text to text, batched across sessions. An engine, or a router over engines."""

    @property
    def version(self) -> str:
        """Changes whenever a translation may: what is cached under another is stale. Cheap."""
        ...

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """(source, target) pairs this translator can do from text, pivots included."""
        ...

    async def translate(self, job: TranslationJob) -> Translation:
        """Translate one job's text. Blank text yields blank text.

        Raises ``PairUnsupported``, ``TranslationFailed``, ``Superseded``, ``Overloaded``.
        """
        ...


class LanguageCatalogue(Protocol):
    """What can be asked for, and how it would be done. Pure: answers without waiting."""

    def spoken(self, tag: str) -> str:
        """The recogniser's code for a language tag (``pt-BR`` → ``pt``).

        Raises ``UnknownLanguage`` with what would be possible.
        """
        ...

    def target(self, tag: str) -> str:
        """The translator's code for a target tag. Raises ``UnknownLanguage``."""
        ...

    def speech_route(self, source: str, target: str) -> Route | None:
        """The best way from speech in ``source`` to text in ``target`` just now, or None."""
        ...

    def spoken_route(self, source: str, target: str) -> Route | None:
        """The way that starts from the audio, for when text can't be translated; or None."""
        ...

    def text_route(self, source: str, target: str) -> Route | None:
        """The best way from text in ``source`` to text in ``target``, or None."""
        ...

    def sentences(self, text: str, language: str) -> list[str]:
        """A text's sentences with their white space: joined they are the text."""
        ...

    def listing(self) -> tuple[Language, ...]:
        """Every language, with its targets and routes, sorted by name."""
        ...


class ContainerDecoder(Protocol):
    """Decodes one compressed stream (Ogg or WebM) as its bytes arrive."""

    async def feed(self, data: bytes) -> Audio:
        """All audio that can be decoded with these bytes. Raises ``BrokenStream``."""
        ...

    async def flush(self) -> Audio:
        """The rest, after the last byte. Raises ``BrokenStream``."""
        ...

    def close(self) -> None:
        """Free the decoder and its thread, also in the middle of a stream. Idempotent."""
        ...
