"""Texts into sentences an engine can take, and back, with the layout between them untouched."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import sentencex

_UNSPACED: Final = frozenset({"zh", "ja", "yue", "th", "lo", "km", "my", "bo", "dz", "wuu"})
"""Languages that write no space between sentences."""

_LINE_BREAKS: Final = re.compile(r"(\s*[\n\r\v\f\x85\u2028\u2029]\s*)")
_CLAUSE_ENDS: Final = re.compile(r"[,;:\u2013\u2014](?=\s)|[\uff0c\u3001\uff1b\uff1a\u060c\u061b]")
_SPACES: Final = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Split:
    """A text as sentences and what is around them.

    ``gaps[i]`` stands before ``sentences[i]`` and the last gap after all of them: joined in turn
    they are the text. Gaps hold whitespace and whatever has no letter to translate.
    """

    gaps: tuple[str, ...]
    sentences: tuple[str, ...]

    def join(self, translated: Sequence[str], target: str) -> str:
        """The text with each sentence replaced.

        Sentences that had no space between them (Chinese) get one where ``target`` writes it.
        """
        spaced = target.partition("-")[0] not in _UNSPACED
        parts = [self.gaps[0]]
        for number, (text, gap) in enumerate(zip(translated, self.gaps[1:], strict=True), 1):
            last = number == len(self.sentences)
            parts += (text, " " if spaced and not gap and not last else gap)
        return "".join(parts)


def split(text: str, language: str, limit: int) -> Split:
    """Split a text into sentences of at most ``limit`` characters.

    Lines are never joined. What is longer than ``limit`` is cut after a clause, else at a space,
    else anywhere.
    """
    gaps = [""]
    found: list[str] = []
    for raw in sentences(text, language):
        core = raw.strip()
        if not any(map(str.isalpha, core)):
            gaps[-1] += raw
            continue
        start = raw.index(core)
        gaps[-1] += raw[:start]
        cuts = list(cut(core, limit))
        for piece, gap in cuts:
            found.append(piece)
            gaps.append(gap)
        gaps[-1] += raw[start + len(core) :]
    return Split(tuple(gaps), tuple(found))


def cut(text: str, limit: int) -> Iterator[tuple[str, str]]:
    """Cut a stripped text into pieces of at most ``limit`` characters.

    Yields each piece with the whitespace that followed it; together they are the text.
    """
    while len(text) > limit:
        end = _boundary(text, limit)
        piece, rest = text[:end].rstrip(), text[end:].lstrip()
        gap = text[len(piece) : len(text) - len(rest)]
        yield piece, gap
        text = rest
    yield text, ""


def _boundary(text: str, limit: int) -> int:
    """Where to cut: 1…``limit``."""
    window = text[: limit + 1]  # a space right after the limit is a boundary too
    for pattern in (_CLAUSE_ENDS, _SPACES):
        ends = [match.end() for match in pattern.finditer(window) if match.start() > 0]
        fitting = [end for end in ends if len(text[:end].rstrip()) <= limit and end < len(text)]
        # A clause in the first third would leave crumbs.
        if fitting and (pattern is _SPACES or fitting[-1] > limit // 3):
            return fitting[-1]
    end = limit
    while end > 1 and unicodedata.combining(text[end]):
        end -= 1
    return end


def sentences(text: str, language: str) -> list[str]:
    """Sentences with their white space; joined they are the text."""
    found: list[str] = []
    for number, line in enumerate(_LINE_BREAKS.split(text)):
        if number % 2 or not line.strip():
            found.append(line)
            continue
        pieces = [str(piece) for piece in sentencex.segment(language.partition("-")[0], line)]
        # Never lose a character to a segmenter.
        found += pieces if "".join(pieces) == line else [line]
    return found
