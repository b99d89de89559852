"""A segment's source text as it grows, sentence by sentence.

A sentence that ended inside the stable text will never be another: what follows is split by itself,
and a splitter that changes its mind about what came before is not asked again.
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
    """The sentences of one open segment. ``complete`` only grows while the stable text does."""

    split: Splitter
    complete: list[SourceSentence] = field(default_factory=list)
    """Sentences inside the stable text behind which another has begun in it."""
    open: list[SourceSentence] = field(default_factory=list)
    """What follows: these may still change."""
    _language: str = ""
    _consumed: str = ""
    """The beginning of the text that the complete sentences were made of."""

    @property
    def sentences(self) -> list[SourceSentence]:
        return [*self.complete, *self.open]

    def follow(self, stable: str, language: str, unstable: str = "") -> None:
        """Take the segment's text.

        When the stable part is not what came before and more, or in another language, all is
        split anew.
        """
        if language != self._language or not stable.startswith(self._consumed):
            self.complete.clear()
            self._consumed = ""
        self._language = language
        self.open.clear()
        text = stable + unstable
        position, end = len(self._consumed), len(self._consumed.rstrip())
        for piece in self.split(text[position:], language):
            core = piece.strip()
            if core:
                start = position + piece.index(core)
                if self.open and start < len(stable):
                    self.complete += self.open
                    self.open.clear()
                    self._consumed = text[:position]
                self.open.append(SourceSentence(core, language, text[end:start]))
                end = start + len(core)
            position += len(piece)

    def conclude(self, text: str, language: str) -> list[SourceSentence]:
        """Take the segment's final text; all its sentences are complete."""
        self.follow(text, language)
        return self.sentences
