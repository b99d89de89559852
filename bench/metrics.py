"""What a viewer sees, in numbers. Pure functions over timed captions.

A caption's history is a list of :class:`Shown`: at ``time`` (seconds since the stream's first
sample was spoken) the segment's text became ``text``, of which ``stable`` was promised to stay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.corpus import normalize


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


@dataclass(frozen=True, slots=True)
class Spoken:
    """A word and when it was over, in seconds."""

    word: str
    end: float


def common_prefix(first: Sequence[str], second: Sequence[str]) -> int:
    """How many items both begin with."""
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return count


def erasure(history: Sequence[Shown]) -> tuple[int, int]:
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


def stable_erasure(history: Sequence[Shown]) -> int:
    """Characters of stable text that were changed afterwards. Must be 0."""
    last: dict[int, str] = {}
    erased = 0
    for shown in history:
        stable = shown.text if shown.final else shown.stable
        before = last.get(shown.segment, "")
        kept = common_prefix(before, stable)
        erased += len(before) - kept
        last[shown.segment] = stable
    return erased


def first_shown(spoken: Sequence[Spoken], history: Sequence[Shown], lang: str) -> list[float]:
    """For each word that was recognised: seconds from its end to when it was first on screen.

    The screen is all segments' texts in order. A spoken word counts as shown once a caption has it
    at its place in the alignment of that caption with everything spoken; words never recognised
    don't count (they are the word error rate's business).
    """
    reference = [normalize(item.word, lang).replace(" ", "") for item in spoken]
    waits: dict[int, float] = {}
    screen: dict[int, list[str]] = {}
    for shown in history:
        screen[shown.segment] = normalize(shown.text, lang).split()
        words = [word for number in sorted(screen) for word in screen[number]]
        for index in matched(reference, words):
            # A word can't be known before it was said: an earlier hit is a chance hit.
            waits.setdefault(index, max(0.0, shown.time - spoken[index].end))
    return [waits[index] for index in sorted(waits)]


def matched(reference: Sequence[str], words: Sequence[str]) -> list[int]:
    """Which words of the reference some words tell, by a longest common subsequence from the left.

    Only the part of the reference up to somewhat beyond as many words as were told is looked at:
    what comes much later has not been said yet.
    """
    reach = min(len(reference), len(words) + 5)
    table = [[0] * (len(words) + 1) for _ in range(reach + 1)]
    for i in range(reach - 1, -1, -1):
        for j in range(len(words) - 1, -1, -1):
            if reference[i] == words[j]:
                table[i][j] = table[i + 1][j + 1] + 1
            else:
                table[i][j] = max(table[i + 1][j], table[i][j + 1])
    found: list[int] = []
    i = j = 0
    while i < reach and j < len(words):
        if reference[i] == words[j]:
            found.append(i)
            i, j = i + 1, j + 1
        elif table[i + 1][j] >= table[i][j + 1]:
            i += 1
        else:
            j += 1
    return found


def quantile(values: Sequence[float], q: float) -> float:
    """The nearest-rank quantile; nan of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
