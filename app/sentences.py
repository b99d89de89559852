"""A recogniser's text, cut into segments that can be read, translated and shown. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import sentencex

from streaming.types import Word

MAX_SECONDS: Final = 15.0
"""Longest segment: without punctuation a sentence would last as long as its audio."""
MAX_CHARS: Final = 220
_PAUSE_SECONDS: Final = 1.5
"""A silence that separates segments whatever the grammar says."""
_SOFT: Final = (".", "。", "！", "？", ",", ";", ":", "،", "、", "，", "；", "：", "—")


@dataclass(frozen=True, slots=True)
class Segment:
    """About a sentence. Times are seconds of the recording."""

    start: float
    end: float
    text: str
    confidence: float = 1.0
    words: tuple[Word, ...] = ()


def split_text(text: str, language: str) -> list[str]:
    """Sentences of a text, with their own white space: joined they are the text again."""
    sentences = [str(sentence) for sentence in sentencex.segment(language or "en", text)]
    return sentences if "".join(sentences) == text else [text]


def from_words(words: Sequence[Word], language: str, confidence: float) -> list[Segment]:
    """Segments of one piece's words, whose times are already the recording's."""
    segments: list[Segment] = []
    for sentence in _by_sentence(words, language):
        for group in _by_pause(sentence):
            segments.extend(
                _segment(part, confidence) for part in halved(group, MAX_SECONDS, MAX_CHARS)
            )
    return [segment for segment in segments if segment.text]


def from_text(
    text: str, language: str, start: float, end: float, confidence: float
) -> list[Segment]:
    """Segments of a text without word times: time is shared out by characters."""
    sentences = [sentence for sentence in split_text(text.strip(), language) if sentence.strip()]
    total = sum(map(len, sentences))
    segments = []
    at = start
    for sentence in sentences:
        until = at + (end - start) * len(sentence) / total
        segments.append(Segment(at, until, sentence.strip(), confidence))
        at = until
    return segments


def shifted(words: Sequence[Word], offset: float) -> tuple[Word, ...]:
    """Words on the recording's clock, in order and not overlapping."""
    placed: list[Word] = []
    last = offset
    for word in words:
        start = max(last, offset + word.start)
        end = max(start, offset + word.end)
        placed.append(replace(word, start=start, end=end))
        last = start
    return tuple(placed)


def joined(words: Sequence[Word]) -> str:
    """Words as text; each carries its own leading space, where its language has one."""
    return "".join(word.text for word in words).strip()


def _segment(words: Sequence[Word], confidence: float) -> Segment:
    return Segment(words[0].start, words[-1].end, joined(words), confidence, tuple(words))


def _by_sentence(words: Sequence[Word], language: str) -> list[Sequence[Word]]:
    """A word belongs to the sentence that its last character is in."""
    text = "".join(word.text for word in words)
    ends = []
    at = 0
    for sentence in split_text(text, language):
        at += len(sentence.rstrip())
        ends.append(at)
        at += len(sentence) - len(sentence.rstrip())
    groups: list[list[Word]] = [[]]
    position = 0
    boundary = iter(ends)
    end = next(boundary, len(text))
    for word in words:
        position += len(word.text)
        groups[-1].append(word)
        if position >= end:
            groups.append([])
            while end <= position:
                end = next(boundary, len(text) + 1)
    return [group for group in groups if group]


def _by_pause(words: Sequence[Word]) -> list[Sequence[Word]]:
    groups: list[list[Word]] = [[words[0]]]
    for before, word in pairwise(words):
        if word.start - before.end >= _PAUSE_SECONDS:
            groups.append([])
        groups[-1].append(word)
    return list(groups)


def halved(words: Sequence[Word], max_seconds: float, max_chars: int) -> list[Sequence[Word]]:
    """Words in groups within both bounds, cut after a comma or in a pause, near the middle."""
    if len(words) < 2 or (  # noqa: PLR2004 - one word can't be cut
        words[-1].end - words[0].start <= max_seconds and len(joined(words)) <= max_chars
    ):
        return [words]
    cut = max(range(1, len(words)), key=lambda index: _merit(words, index))
    return [
        *halved(words[:cut], max_seconds, max_chars),
        *halved(words[cut:], max_seconds, max_chars),
    ]


def _merit(words: Sequence[Word], index: int) -> float:
    """How good a cut before ``words[index]`` is: commas and pauses, less the lopsidedness."""
    before = len(joined(words[:index]))
    after = len(joined(words[index:]))
    balance = min(before, after) / max(before, after, 1)
    comma = 0.7 if words[index - 1].text.rstrip().endswith(_SOFT) else 0.0
    pause = min(max(words[index].start - words[index - 1].end, 0.0), 1.0)
    # A cut inside a word written without spaces (a token of Chinese, a hyphenated half) is last.
    inside = 0.0 if words[index].text[:1].isspace() or not words[index].text[:1].isalpha() else 0.2
    return balance + comma + pause - inside
