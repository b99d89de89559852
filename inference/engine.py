"""What a text translation engine is, seen from the router in :mod:`inference.translator`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable


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
        """Changes whenever the engine's output may: what is cached under another is stale."""
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


@runtime_checkable
class Recoverable(Protocol):
    """An engine that can go on although one of its calls never comes back."""

    def recover(self) -> None:
        """Make room for other calls beside the one that hangs: blocking."""
        ...
