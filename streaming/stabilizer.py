"""Turns successive hypotheses of an open utterance into a caption that hardly changes.

A recogniser that hears more of a sentence changes its mind about what it heard before. Of its
hypotheses, words are shown and promised in three steps:

- *shown*: two successive hypotheses have the word at the same place (LocalAgreement-2, Liu et al.
  2020, arXiv 2005.11185; Macháček et al. 2023, arXiv 2307.14743), or a pause follows it;
- what is shown stays until hypotheses contradict it several times: most contradictions are taken
  back within a second;
- *stable*: several successive hypotheses have it, and several words behind it. This never changes.

Words are compared without case and punctuation, and shown as they were when they were first
agreed on. Of the last word shown the punctuation is left open until another follows: that is what
a recogniser changes its mind about most. docs/benchmarks has what each of these is worth.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from typing import Final

# Scripts written without spaces: each character is a unit of its own.
_UNSPACED: Final = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    r"\uf900-\ufaff\U00020000-\U0002ffff"
)
_UNIT: Final = re.compile(rf"\s*(?:[{_UNSPACED}][^\w\s]*|[^\s{_UNSPACED}]+)")
_AGREEING: Final = 2
"""Successive hypotheses that must have a word for it to be shown."""
_PATIENCE: Final = 8
"""Contradictions of what is shown, in a row, that replace it."""
_STABLE_AFTER: Final = 6
"""Successive hypotheses that must have a word for it to be stable."""
_STABLE_BEHIND: Final = 6
"""Words that must be heard behind a word for it to be stable."""
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

    __slots__ = ("_behind", "_committed", "_contradictions", "_open", "_recent", "_shown", "stable")

    def __init__(self) -> None:
        self.stable = ""
        self._committed: list[str] = []
        """Keys of the stable words."""
        self._behind = ""
        """The punctuation between the stable words and those shown after them."""
        self._shown: list[str] = []
        """The words shown behind the stable ones, as units."""
        self._open = True
        """Whether the punctuation of the last word shown is left open."""
        self._contradictions = 0
        self._recent: deque[list[str]] = deque(maxlen=_STABLE_AFTER)
        """The last hypotheses behind the stable words, as units."""

    @property
    def unstable(self) -> str:
        if not self._shown:
            return ""
        *inner, last = self._shown
        return "".join((self._behind, *inner, _split(last)[0] if self._open else last))

    def update(self, text: str, *, whole: bool = False) -> bool:
        """Take a newer hypothesis of everything heard; say whether the caption changed.

        ``whole`` says that the audio ends in a pause, and not perhaps in the middle of a word.
        """
        before = self.stable, self.unstable
        behind, tail = self._behind_stable(text)
        self._recent.append(tail)
        self._show(behind, self._agreed(tail, whole=whole), whole=whole)
        self._commit(len(tail))
        return (self.stable, self.unstable) != before

    def finish(self, text: str) -> str:
        """The segment's final text: begins with ``stable``, and else is the last hypothesis."""
        behind, tail = self._behind_stable(text)
        return "".join((self.stable, behind, *tail))

    def surplus(self, text: str) -> list[str]:
        """The stable words that a final text lacks at its end, because its audio was cut there."""
        told = align([_key(unit) for unit in units(text)], self._committed)
        return self._committed[told:]

    def skip(self, words: Sequence[str]) -> None:
        """Leave out words at the beginning: the segment before has shown them already."""
        self._committed = list(words)

    # ------------------------------------------------------------ inside

    def _agreed(self, tail: list[str], *, whole: bool) -> list[str]:
        """What of the newest hypothesis may be shown."""
        if whole:
            return tail
        if len(self._recent) < _AGREEING:
            return []
        # The last word heard is perhaps half a word.
        return tail[: min(_common(self._recent[-_AGREEING], tail), len(tail) - 1)]

    def _show(self, behind: str, agreed: list[str], *, whole: bool) -> None:
        same = _common(self._shown, agreed)
        if same == len(self._shown):
            if not same:
                self._behind = behind
            elif self._open and (whole or same < len(agreed)):
                last = self._shown[-1]
                self._shown[-1] = _split(last)[0] + _split(agreed[same - 1])[1]
            self._shown += agreed[same:]
            self._open = not whole
            self._contradictions = 0
        elif same < len(agreed):  # agreement on less alone contradicts nothing
            self._contradictions += 1
            if self._contradictions >= _PATIENCE:
                self._behind, self._shown = behind, agreed
                self._open = not whole
                self._contradictions = 0

    def _commit(self, heard: int) -> None:
        """Make stable what has been heard often enough, and long enough ago."""
        if len(self._recent) < _STABLE_AFTER:
            return
        agreed = min(_common(recent, self._shown) for recent in self._recent)
        # The last one shown stays: what is between it and the next is not known.
        count = min(agreed, heard - _STABLE_BEHIND, len(self._shown) - 1)
        if count < 1:
            return
        *inner, last = self._shown[:count]
        core, trail = _split(last)
        self.stable = "".join((self.stable, self._behind, *inner, core))
        self._committed += map(_key, self._shown[:count])
        self._behind, self._shown = trail, self._shown[count:]
        for recent in self._recent:
            del recent[:count]

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


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """How many words both begin with."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other and _key(one) != _key(other):
            break
        count += 1
    return count
