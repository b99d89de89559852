"""Where speech is in a whole recording, and how to cut it for the recogniser.

The streaming segmenter decides with what it has heard so far; here everything has been heard, so
a cut goes where it hurts least. Pure: probabilities in, sample positions out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from streaming.types import SAMPLE_RATE, WINDOW, Probabilities

ONSET: Final = 0.5
"""Probability at which speech begins, as Silero's authors set it."""
OFFSET: Final = 0.35
"""Probability below which it ends."""

_HANG: Final = 12
"""Windows (0.38 s) below ``OFFSET`` that end a region."""
_SHORTEST: Final = 3
"""Windows (0.1 s) above ``ONSET`` that a region needs: a click has fewer."""
_MARGIN: Final = 6
"""Windows (0.19 s) kept on either side: plosives and fading vowels score low."""

MAX_SECONDS: Final = 25.0
"""Longest piece: Whisper reads 30 s, and needs some silence at the end."""
_BRIDGE_SECONDS: Final = 1.5
"""Silence up to which neighbours share a piece, and so a context."""
_SMOOTH: Final = 5
"""Windows over which the quietest moment is looked for."""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of audio, in samples: ``start`` inclusive, ``end`` exclusive."""

    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / SAMPLE_RATE


def speech_regions(probabilities: Probabilities) -> list[tuple[int, int]]:
    """Stretches of speech as (first, one past the last) window, without margins.

    Hysteresis: ``ONSET`` opens a region, ``_HANG`` windows below ``OFFSET`` close it.
    """
    regions: list[tuple[int, int]] = []
    start: int | None = None
    last = 0
    voiced = 0
    for index, probability in enumerate(probabilities):
        if probability >= ONSET:
            start = index if start is None else start
            voiced += 1
        if start is None:
            continue
        if probability >= OFFSET:
            last = index
        elif index - last >= _HANG:
            if voiced >= _SHORTEST:
                regions.append((start, last + 1))
            start, voiced = None, 0
    if start is not None and voiced >= _SHORTEST:
        regions.append((start, last + 1))
    return regions


def pieces(
    probabilities: Probabilities, samples: int, *, max_seconds: float = MAX_SECONDS
) -> list[Span]:
    """Cut a recording of ``samples`` samples into spans of speech for the recogniser.

    Every region is in exactly one span, or, when it is longer than ``max_seconds``, in several
    that follow each other without a gap. Spans never overlap.
    """
    limit = int(max_seconds * SAMPLE_RATE / WINDOW)
    bridge = int(_BRIDGE_SECONDS * SAMPLE_RATE / WINDOW)
    cut: list[tuple[int, int]] = []
    for start, end in _with_margins(speech_regions(probabilities), len(probabilities)):
        if cut and start - cut[-1][1] <= bridge and end - cut[-1][0] <= limit:
            cut[-1] = (cut[-1][0], end)
        else:
            cut.extend(_split(probabilities, start, end, limit))
    return [
        Span(start * WINDOW, min(end * WINDOW, samples))
        for start, end in cut
        if start * WINDOW < samples
    ]


def _with_margins(regions: list[tuple[int, int]], total: int) -> list[tuple[int, int]]:
    """Widen each region, into no more than half of the silence it shares with a neighbour."""
    widened = []
    for index, (start, end) in enumerate(regions):
        before = regions[index - 1][1] if index else 0
        after = regions[index + 1][0] if index + 1 < len(regions) else total
        left = min(_MARGIN, (start - before + 1) // 2 if index else start)
        right = min(_MARGIN, (after - end) // 2 if index + 1 < len(regions) else after - end)
        widened.append((start - left, end + right))
    return widened


def _split(probabilities: Probabilities, start: int, end: int, limit: int) -> list[tuple[int, int]]:
    """Cut a region that is too long at the quietest moments of its second halves."""
    parts = []
    kernel = np.ones(_SMOOTH) / _SMOOTH
    while end - start > limit:
        first = start + limit // 2
        quiet = np.convolve(probabilities[first : start + limit], kernel, mode="same")
        # Padding makes the edges look quiet.
        inner = quiet[_SMOOTH : len(quiet) - _SMOOTH]
        at = first + (_SMOOTH + int(inner.argmin()) if inner.size else limit // 4)
        parts.append((start, at))
        start = at
    parts.append((start, end))
    return parts
