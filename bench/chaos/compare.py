"""Whether what was heard under faults is what is heard without. Pure.

The reference is not what a person says was spoken but what the same server makes of the same audio
when nothing goes wrong: what is missing then was lost by the fault, not misheard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import jiwer

from bench.chaos.record import Heard
from bench.corpus import normalize

LANGUAGE = "en"

OVERLAP = 0.5
"""Seconds that two finals may share: an utterance begins with some of the silence before it."""

_ALIKE = 0.15
"""Share of an utterance's words that may be other ones than in the undisturbed run, at least one:
what is decoded beside other streams, or in two parts, may differ by a word."""


@dataclass(frozen=True, slots=True)
class Span:
    """When one utterance is spoken, in seconds of its stream, its pause included."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Difference:
    """What a fault did to a text, in words of the undisturbed run's."""

    words: int = 0
    lost: int = 0
    """Gone, with nothing in their place."""
    added: int = 0
    """Words that there were not: said twice, or made up."""
    changed: int = 0
    """Others in their place."""

    def __add__(self, other: Difference) -> Difference:
        return Difference(
            self.words + other.words,
            self.lost + other.lost,
            self.added + other.added,
            self.changed + other.changed,
        )

    @property
    def alike(self) -> bool:
        """Whether it may count as the same text."""
        return self.lost + self.added + self.changed <= max(1.0, _ALIKE * self.words)


def difference(undisturbed: str, heard: str) -> Difference:
    """Align two texts by their words.

    Words in the place of others are changed, however many there were and are: heard differently.
    """
    expected, found = normalize(undisturbed, LANGUAGE), normalize(heard, LANGUAGE)
    if not expected:
        return Difference(added=len(found.split()))
    aligned = jiwer.process_words(expected, found)
    lost = added = changed = 0
    for before, after in _edits(aligned.alignments[0]):
        if before and after:
            changed += max(before, after)
        else:
            lost += before
            added += after
    return Difference(len(expected.split()), lost, added, changed)


def _edits(chunks: Iterable[jiwer.AlignmentChunk]) -> Iterable[tuple[int, int]]:
    """Runs of words between equal ones: how many there were, and how many there are."""
    before = after = 0
    for chunk in chunks:
        if chunk.type == "equal":
            yield before, after
            before = after = 0
        else:
            before += chunk.ref_end_idx - chunk.ref_start_idx
            after += chunk.hyp_end_idx - chunk.hyp_start_idx
    yield before, after


def doubled(finals: Iterable[Heard]) -> list[tuple[Heard, Heard]]:
    """Finals of the same stretch of audio, neighbours in time."""
    ordered = sorted(finals, key=lambda one: one.start)
    return [
        (first, second) for first, second in pairwise(ordered) if first.end - second.start > OVERLAP
    ]


def by_utterance(finals: Iterable[Heard], spans: Sequence[Span]) -> list[str]:
    """The text of each utterance: of the finals whose middle lies in its span."""
    texts: list[list[str]] = [[] for _ in spans]
    for final in sorted(finals, key=lambda one: one.start):
        middle = (final.start + final.end) / 2
        inside = [n for n, span in enumerate(spans) if span.start <= middle < span.end]
        # Beyond the last pause there is nothing: whatever is said to be there belongs to it.
        texts[inside[0] if inside else -1].append(final.text)
    return [" ".join(parts) for parts in texts]


def compare(
    undisturbed: Sequence[Sequence[Heard]], heard: Sequence[Heard], spans: Sequence[Span]
) -> list[Difference]:
    """For each utterance, the difference to the nearest of some undisturbed runs."""
    references = [by_utterance(run, spans) for run in undisturbed]
    return [
        min(
            (difference(reference[number], text) for reference in references),
            key=lambda one: one.lost + one.added + one.changed,
        )
        for number, text in enumerate(by_utterance(heard, spans))
    ]


def right(
    undisturbed: Sequence[Sequence[Heard]],
    heard: Sequence[Heard],
    spans: Sequence[Span],
    texts: Sequence[str],
) -> list[bool]:
    """Of the utterances that all undisturbed runs heard as a person wrote them down, whether they
    were heard so here. What the model mishears by itself says nothing of faults.
    """
    references = [by_utterance(run, spans) for run in undisturbed]
    return [
        difference(text, found).alike
        for number, (text, found) in enumerate(zip(texts, by_utterance(heard, spans), strict=True))
        if all(difference(text, reference[number]).alike for reference in references)
    ]


def unlike(
    name: str,
    spans: Sequence[Span],
    texts: tuple[Iterable[Heard], Iterable[Heard]],
    chosen: Sequence[bool],
    also: Callable[[Span], str] = lambda _span: "",
) -> list[str]:
    """For each chosen utterance, what was heard of it undisturbed and under faults, to be read, and
    what there is ``also`` to be told.
    """
    before, after = (by_utterance(finals, spans) for finals in texts)
    return [
        f"{name} at {span.start:.1f} s: {was!r} became {became!r}{also(span)}"
        for span, was, became, wanted in zip(spans, before, after, chosen, strict=True)
        if wanted
    ]
