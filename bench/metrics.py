"""What a viewer sees, in numbers. Pure functions over timed captions.

A caption's history is a list of :class:`Shown`: at ``time`` (seconds since the stream's first
sample was spoken) the segment's text became ``text``, of which ``stable`` was promised to stay.
"""

from __future__ import annotations

import math
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_SLACK = 0.5
"""How much too late word timestamps may be, in seconds, for a shown word to count as that word."""


@dataclass(frozen=True, slots=True)
class Shown:
    """One change of one segment's caption."""

    time: float
    segment: int
    stable: str
    unstable: str
    final: bool = False

    @property
    def text(self) -> str:
        return self.stable + self.unstable

    @property
    def promised(self) -> str:
        """What will not change any more."""
        return self.text if self.final else self.stable


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word and when it was said, in seconds."""

    word: str
    end: float
    start: float = 0.0


def common_prefix(first: Sequence[str], second: Sequence[str]) -> int:
    """How many items both begin with."""
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return count


def erasure(history: Iterable[Shown]) -> tuple[int, int]:
    """Words erased after having been shown, and words of the last texts.

    Normalised erasure is their ratio (Arivazhagan et al. 2020, arXiv 1912.03393): for each change,
    the words behind the common prefix with the text before are erased.
    """
    last: dict[int, list[str]] = {}
    erased = 0
    for shown in history:
        words = shown.text.split()
        before = last.get(shown.segment, [])
        erased += len(before) - common_prefix(before, words)
        last[shown.segment] = words
    return erased, sum(map(len, last.values()))


def stable_erasure(history: Iterable[Shown]) -> int:
    """Characters of promised text that were changed afterwards. Must be 0."""
    last: dict[int, str] = {}
    erased = 0
    for shown in history:
        before = last.get(shown.segment, "")
        erased += len(before) - common_prefix(before, shown.promised)
        last[shown.segment] = shown.promised
    return erased


def most_words(history: Iterable[Shown]) -> tuple[int, int]:
    """Words of finals, and words that were ever on screen: of each segment its longest text."""
    longest: dict[int, int] = {}
    final = 0
    for shown in history:
        words = len([word for word in shown.text.split() if plain(word)])
        longest[shown.segment] = max(longest.get(shown.segment, 0), words)
        final += words if shown.final else 0
    return final, sum(longest.values())


def plain(word: str) -> str:
    """A word as it is compared: folded, letters and digits only."""
    folded = unicodedata.normalize("NFKC", word).casefold()
    return "".join(letter for letter in folded if letter.isalnum())


def first_shown(
    spoken: Sequence[Spoken], history: Sequence[Shown], *, promised: bool = False
) -> dict[int, float]:
    """When each spoken word, by its index, was first on screen.

    With ``promised``, when it was first in text that will not change. The screen is the texts
    of all segments in order. A spoken word counts as shown once a text has it at its place in the
    alignment with what had been spoken by then; words never recognised are left out.
    """
    reference = [plain(item.word) for item in spoken]
    ends = [item.end for item in spoken]
    times: dict[int, float] = {}
    screen: dict[int, list[str]] = {}
    done: set[int] = set()
    anchor = 0  # words before it belong to segments that are over
    for shown in history:
        text = shown.promised if promised else shown.text
        screen[shown.segment] = [word for word in map(plain, text.split()) if word]
        words = [word for number in sorted(screen) for word in screen[number]]
        reach = bisect_right(ends, shown.time + _SLACK)
        pairs = aligned(reference[anchor:reach], words)
        for index, _ in pairs:
            times.setdefault(anchor + index, shown.time)
        if shown.final:
            done.add(shown.segment)
        over, base = 0, anchor
        while screen and (first := min(screen)) in done:
            over += len(screen.pop(first))
            anchor = max([anchor, *(base + i + 1 for i, j in pairs if j < over)])
    return times


def shown_after(
    spoken: Sequence[Spoken], history: Sequence[Shown], *, promised: bool = False
) -> list[float]:
    """For each word that was shown (see :func:`first_shown`): seconds from its end until then.

    Words never recognised don't count; they are the word error rate's business.
    """
    times = first_shown(spoken, history, promised=promised)
    return [max(0.0, times[index] - spoken[index].end) for index in sorted(times)]


def aligned(reference: Sequence[str], words: Sequence[str]) -> list[tuple[int, int]]:
    """A longest common subsequence, as pairs of indices, leftmost where there are several."""
    rows, columns = len(reference), len(words)
    table = [[0] * (columns + 1) for _ in range(rows + 1)]
    for i in range(rows - 1, -1, -1):
        row, below = table[i], table[i + 1]
        for j in range(columns - 1, -1, -1):
            same = reference[i] == words[j]
            row[j] = below[j + 1] + 1 if same else max(below[j], row[j + 1])
    pairs: list[tuple[int, int]] = []
    i = j = 0
    while i < rows and j < columns:
        if reference[i] == words[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif table[i + 1][j] > table[i][j + 1]:
            i += 1
        else:
            j += 1
    return pairs


def quantile(values: Sequence[float], q: float) -> float | None:
    """The quantile (0…1) by nearest rank; None of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(q * len(ordered)) - 1)]


def rounded(value: float | None, digits: int = 2) -> float | None:
    """A figure as it is shown; None for what is not a number."""
    return None if value is None or math.isnan(value) else round(value, digits)
