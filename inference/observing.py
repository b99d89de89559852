"""What a model's worker tells of its batches, to whoever counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streaming.types import Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class RecognitionBatch:
    """One batch of speech, after it was done. Frames are of 10 ms; times are in seconds."""

    priority: Priority
    """Of its first row; partials never share a batch with other work."""
    rows: int
    frames: int
    """Encoder length of each row."""
    padding_frames: int
    """Frames of all rows that hold no audio of theirs."""
    encode_seconds: float
    decode_seconds: float
    """All but encoding: what was redone included."""
    widened: int
    """Rows that were decoded again with more context."""
    sampled: int
    """Rows that were decoded again by sampling."""
    guards: tuple[str, ...]
    """Why answers were not believed, were taken for silence, or were decoded without context."""


BatchObserver = Callable[[RecognitionBatch], None]
"""Is called in the worker's thread; must be quick and raise nothing."""


def unobserved(_: RecognitionBatch) -> None:
    """Nobody counts."""
