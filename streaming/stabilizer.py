"""Turns successive hypotheses of an open utterance into a caption whose beginning stays put.

LocalAgreement-2 (Liu et al. 2020, arXiv 2005.11185; Macháček et al. 2023, arXiv 2307.14743): what
two successive hypotheses agree on is stable. Agreement is on words with their case; the
punctuation behind the last agreed word stays open until the next word settles it, because that is
what a recogniser changes its mind about most. The last word heard is not shown before more is
heard, unless a pause follows it: while it is being spoken it is mostly something else
(mask-k of Arivazhagan et al. 2020, arXiv 1912.03393, with k = 1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

# Scripts written without spaces: each character is a unit of its own.
_UNSPACED: Final = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0002ffff"
)
_UNIT: Final = re.compile(rf"\s*(?:[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+)")
_FIRST: Final = 3
"""Words that must agree before any is stable: the first second of a sentence is often misheard, and
what follows can't be made to fit a wrong beginning."""
_TRAIL: Final = re.compile(r"[^\w]*\Z")
_STARTS_UNSPACED: Final = re.compile(rf"[{_UNSPACED}]")


def units(text: str) -> list[str]:
    """The words of a text with the space before them and the punctuation behind; they join to it.

    Characters of scripts without spaces are words of their own. White space at the end is left out.
    """
    return _UNIT.findall(text)


def _split(unit: str) -> tuple[str, str]:
    """A unit's core, and the punctuation behind it. A unit of punctuation alone is all core."""
    at = _TRAIL.search(unit)
    edge = at.start() if at else len(unit)
    return (unit[:edge], unit[edge:]) if unit[:edge].strip() else (unit, "")


def _key(unit: str) -> str:
    """What makes two units the same word."""
    core = re.sub(r"[^\w]", "", unit)
    return core.casefold() or unit.strip()


def align(committed: Sequence[str], heard: Sequence[str]) -> int:
    """How many of the words heard are a retelling of the words committed.

    The prefix of ``heard`` with the least edit distance to ``committed``; of equally good ones one
    that ends on the same word, and whose length is nearest.
    """
    k = len(committed)
    if list(heard[:k]) == list(committed):
        return k
    row = list(range(len(heard) + 1))
    for i, word in enumerate(committed, start=1):
        before, row = row, [i]
        for j, other in enumerate(heard, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (word != other)))

    def badness(j: int) -> tuple[int, bool, int]:
        return row[j], j == 0 or heard[j - 1] != committed[-1], abs(j - k)

    return min(range(len(row)), key=badness)


class Stabilizer:
    """The caption of one open segment: ``stable + unstable``, of which ``stable`` only grows."""

    __slots__ = ("_committed", "_previous", "stable", "unstable")

    def __init__(self) -> None:
        self.stable = ""
        self.unstable = ""
        self._committed: list[str] = []
        """Keys of the stable words."""
        self._previous: list[str] = []
        """The last hypothesis behind them, as units."""

    def update(self, text: str, *, whole: bool = False) -> bool:
        """Take a newer hypothesis of everything heard; say whether the caption changed.

        ``whole`` says that the audio ends in a pause, and not perhaps in the middle of a word.
        """
        before = (self.stable, self.unstable)
        trail, tail = self._behind_stable(text)
        agreed = self._agreed(self._previous, tail)
        if agreed >= (1 if self._committed else _FIRST):
            *inner, last = tail[:agreed]
            core, last_trail = _split(last)
            self.stable = "".join((self.stable, trail, *inner, core))
            self._committed += map(_key, tail[:agreed])
            trail, tail = last_trail, tail[agreed:]
        self._previous = tail
        self.unstable = "".join((trail, *(tail if whole else tail[:-1])))
        return (self.stable, self.unstable) != before

    def finish(self, text: str) -> str:
        """The segment's final text: begins with ``stable``, and else is the last hypothesis."""
        trail, tail = self._behind_stable(text)
        return "".join((self.stable, trail, *tail))

    def surplus(self, text: str) -> list[str]:
        """The stable words that a final text lacks at its end, because its audio was cut there."""
        told = align([_key(unit) for unit in units(text)], self._committed)
        return self._committed[told:]

    def skip(self, words: Sequence[str]) -> None:
        """Leave out words at the beginning: the segment before has shown them already."""
        self._committed = list(words)

    def _behind_stable(self, text: str) -> tuple[str, list[str]]:
        """What a hypothesis says after the stable words: punctuation behind them, further units."""
        heard = units(text)
        if not self._committed:
            return "", heard
        at = align(self._committed, [_key(unit) for unit in heard])
        tail = heard[at:]
        if not self.stable:
            return "", [tail[0].lstrip(), *tail[1:]] if tail else []
        if at:
            return _split(heard[at - 1])[1], tail
        if tail and not tail[0][0].isspace() and not _STARTS_UNSPACED.match(tail[0]):
            tail[0] = " " + tail[0]
        return "", tail

    @staticmethod
    def _agreed(previous: Sequence[str], current: Sequence[str]) -> int:
        """How many units both begin with. The last one heard doesn't count."""
        count = 0
        for old, new in zip(previous, current[:-1], strict=False):
            (old_core, old_trail), (new_core, new_trail) = _split(old), _split(new)
            if old_core.strip() != new_core.strip():
                break
            count += 1
            if old_trail != new_trail:
                break
        return count
