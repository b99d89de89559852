"""What a text translation engine is, seen from the router in :mod:`inference.translator`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from inference.routing import First


class Sentence(NamedTuple):
    """One sentence without surrounding whitespace, and where it goes.

    ``prefix`` is what its translation had better begin with: what was shown when less of the
    sentence was known. Only steerable engines are given one.
    """

    text: str
    source: str
    target: str
    prefix: str = ""


class TextEngine(Protocol):
    """Translates sentences, blocking. Languages are codes as :func:`~inference.languages.canonical`
    writes them.
    """

    @property
    def name(self) -> str:
        """What clients are told made a translation."""
        ...

    @property
    def version(self) -> str:
        """Changes whenever the engine's output may: what is cached under another is stale. The
        same in all processes that run the same engine.
        """
        ...

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """(source, target) pairs this engine does by itself."""
        ...

    @property
    def max_chars(self) -> int:
        """The longest sentence it is given, in characters."""
        ...

    @property
    def replicas(self) -> int:
        """How many threads may call ``translate`` at once with profit."""
        ...

    @property
    def max_batch(self) -> int:
        """How many jobs are worth running together; 1 where a batch is a loop."""
        ...

    @property
    def steerable(self) -> bool:
        """Whether a sentence's ``prefix`` is heeded."""
        ...

    def load(self) -> None:
        """Load the models. Idempotent, thread-safe. Raises ``ModelUnavailable``."""
        ...

    def translate(self, sentences: Sequence[Sentence]) -> list[str]:
        """One translation for each sentence, in order; pairs may be mixed.

        Raises ``TranslationFailed`` or ``ModelUnavailable``.
        """
        ...

    def close(self) -> None:
        """Free the models once no call runs. Idempotent."""
        ...


class RemoteEngine(Protocol):
    """Translates sentences somewhere else; on the event loop, without blocking."""

    @property
    def name(self) -> str:
        """What clients are told made a translation; no address."""
        ...

    @property
    def version(self) -> str:
        """As :attr:`TextEngine.version`."""
        ...

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """(source, target) pairs it does; none as long as they are not known."""
        ...

    @property
    def first(self) -> First:
        """For which pairs it comes before the engines in this process."""
        ...

    @property
    def available(self) -> bool:
        """Whether it is worth asking now. Cheap."""
        ...

    @property
    def max_chars(self) -> int:
        """As :attr:`TextEngine.max_chars`."""
        ...

    @property
    def at_once(self) -> int:
        """How many batches may be on their way."""
        ...

    @property
    def max_batch(self) -> int:
        """How many jobs are worth sending together."""
        ...

    async def refresh(self) -> None:
        """Find out which pairs it does. Raises ``ModelUnavailable``."""
        ...

    async def translate(self, sentences: Sequence[Sentence]) -> list[str]:
        """One translation for each sentence, in order; pairs may be mixed.

        Raises ``ModelUnavailable`` when it is down, ``TranslationFailed`` when it is the text.
        """
        ...

    async def close(self) -> None:
        """Close its connections. Idempotent."""
        ...


@runtime_checkable
class Recoverable(Protocol):
    """An engine that can go on although one of its calls never comes back."""

    def recover(self) -> None:
        """Make room for other calls beside the one that hangs: blocking."""
        ...
