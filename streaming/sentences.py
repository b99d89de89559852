"""A segment's source text as it grows, sentence by sentence.

Only stable text comes in, so a sentence that ended inside it will never be another: what follows is
split by itself, and a splitter that changes its mind about what came before is not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

Splitter = Callable[[str, str], Sequence[str]]
"""Splits a text in a language into sentences with their white space: joined they are the text."""


@dataclass(frozen=True, slots=True)
class SourceSentence:
    """One sentence without surrounding white space, and the white space before it."""

    text: str
    language: str
    gap: str


@dataclass(slots=True)
class SourceText:
    """The sentences of one open segment. ``complete`` only grows while the text does."""

    split: Splitter
    complete: list[SourceSentence] = field(default_factory=list)
    open: SourceSentence | None = None
    """The last sentence: nothing follows it yet."""
    _language: str = ""
    _consumed: str = ""
    """The beginning of the text that the complete sentences were made of."""

    @property
    def sentences(self) -> list[SourceSentence]:
        return [*self.complete, self.open] if self.open else [*self.complete]

    def follow(self, text: str, language: str) -> None:
        """Take the segment's stable text.

        When it is not what came before and more, or in another language, all is split anew.
        """
        if language != self._language or not text.startswith(self._consumed):
            self.complete.clear()
            self._consumed = ""
        self._language, self.open = language, None
        position, end = len(self._consumed), len(self._consumed.rstrip())
        for piece in self.split(text[position:], language):
            core = piece.strip()
            if core:
                if self.open is not None:
                    self.complete.append(self.open)
                    self._consumed = text[:position]
                start = position + piece.index(core)
                self.open = SourceSentence(core, language, text[end:start])
                end = start + len(core)
            position += len(piece)

    def conclude(self, text: str, language: str) -> list[SourceSentence]:
        """Take the segment's final text; all its sentences are complete."""
        self.follow(text, language)
        return self.sentences
