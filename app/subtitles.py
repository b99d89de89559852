"""Transcripts as subtitles (SRT, WebVTT), within what people can read.

Bounds follow the usual guidelines (BBC, Netflix): two lines of 42 characters, at most 7 s on
screen, nothing that overlaps, nothing empty.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, Literal

import pysubs2

from app.sentences import Segment, halved, joined
from streaming.types import Word

Format = Literal["srt", "vtt"]

LINE_CHARS: Final = 42
MAX_LINES: Final = 2
MAX_SECONDS: Final = 7.0
MIN_SECONDS: Final = 0.8
"""A cue stays this long, if the next one leaves it the time."""

# A little less than two full lines, since a break between words rarely falls on the 42nd.
_MAX_CHARS: Final = LINE_CHARS * MAX_LINES - 10
_UNSPACED: Final = range(0x2E80, 0xAC00)
"""Code points of Chinese and Japanese, which are written without spaces."""


def render(segments: Iterable[Segment], form: Format) -> str:
    """The subtitle file of a transcript or of its translation."""
    subtitles = pysubs2.SSAFile()
    for start, end, text in cues(segments):
        event = pysubs2.SSAEvent(start=start, end=end)
        event.plaintext = _escape(text, form)
        subtitles.append(event)
    return subtitles.to_string(form)


def _escape(text: str, form: Format) -> str:
    """Text that no reader takes for mark-up: pysubs2's own (ASS), the file's, or a cue's times."""
    text = text.translate({ord("{"): "(", ord("}"): ")", ord("\\"): "/"})
    if form == "vtt":
        return html.escape(text, quote=False)
    return text.replace("-->", "→")


def cues(segments: Iterable[Segment]) -> list[tuple[int, int, str]]:
    """(start, end, text) of each cue, in milliseconds; lines are separated by newlines."""
    pieces = [piece for segment in segments for piece in _pieces(segment)]
    times = [(round(piece.start * 1000), round(piece.end * 1000)) for piece in pieces]
    found: list[tuple[int, int, str]] = []
    for index, (piece, (start, end)) in enumerate(zip(pieces, times, strict=True)):
        following = times[index + 1][0] if index + 1 < len(times) else None
        start = max(start, found[-1][1] if found else 0)  # noqa: PLW2901 - the corrected start
        stop = max(end, start + round(MIN_SECONDS * 1000))
        if following is not None:
            stop = min(stop, max(following, start + 1))
        stop = min(stop, start + round(MAX_SECONDS * 1000))
        found.append((start, stop, wrap(piece.text)))
    return found


def wrap(text: str) -> str:
    """A text in lines of at most 42 characters, of even length where there are two."""
    text = " ".join(text.split())
    if len(text) <= LINE_CHARS:
        return text
    even = len(text) // 2
    for width in range(max(1, even), LINE_CHARS + 1):
        lines = textwrap.wrap(text, width)
        if len(lines) <= MAX_LINES:
            return "\n".join(lines)
    return "\n".join(textwrap.wrap(text, LINE_CHARS))


def _pieces(segment: Segment) -> list[Segment]:
    """A segment in parts that each fit one cue."""
    text = " ".join(segment.text.split())
    if not text:
        return []
    words = segment.words or _estimated(segment, text)
    return [
        Segment(part[0].start, part[-1].end, joined(part))
        for part in _fitting(words)
        if joined(part)
    ]


def _fitting(words: Sequence[Word]) -> list[Sequence[Word]]:
    """Groups whose wrapped text really has two lines at most."""
    groups: list[Sequence[Word]] = []
    for group in halved(words, MAX_SECONDS, _MAX_CHARS):
        if len(group) > 1 and wrap(joined(group)).count("\n") >= MAX_LINES:
            groups.extend(_fitting(group[: len(group) // 2]))
            groups.extend(_fitting(group[len(group) // 2 :]))
        else:
            groups.append(group)
    return groups


def _estimated(segment: Segment, text: str) -> list[Word]:
    """Words with times shared out by length, for a text that has none: a translation."""
    tokens = _tokens(text)
    total = sum(map(len, tokens)) or 1
    positions = [0]
    for token in tokens:
        positions.append(positions[-1] + len(token))
    scale = (segment.end - segment.start) / total
    return [
        Word(token, segment.start + before * scale, segment.start + after * scale, 1.0)
        for token, (before, after) in zip(tokens, pairwise(positions), strict=True)
    ]


def _tokens(text: str) -> list[str]:
    """Words with their leading space; characters, where words are not separated."""
    tokens: list[str] = []
    for number, word in enumerate(text.split(" ")):
        lead = " " if number else ""
        if len(word) > LINE_CHARS or any(ord(letter) in _UNSPACED for letter in word):
            tokens.append(lead + word[:1])
            tokens.extend(word[1:])
        else:
            tokens.append(lead + word)
    return tokens
