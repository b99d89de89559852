"""What was said before, as context for what is said now.

The recogniser gets the newest finals as previous text: names and spellings stay the same, and a
sentence that a pause cut in two goes on with a small letter. Whisper repeats what it is given, so
only clean text is kept, and only of the language that is spoken (Radford et al. 2022,
arXiv 2212.04356, section 4.5, where it is dropped after a fallback).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from streaming.checkpoint import Background
from streaming.types import SAMPLE_RATE, Hypothesis

LIKELY_LANGUAGE: Final = 0.5
"""A language less probable than this is no evidence of a change."""
_CLEAN_CONFIDENCE: Final = 0.5
"""A text less probable than this is no context: what is wrong in it would be repeated."""
_CHARACTERS: Final = 300
_SAMPLES: Final = 30 * SAMPLE_RATE
"""How long ago a text may have been said to be context for what is said now."""


@dataclass(slots=True)
class Context:
    """The language and the last words of a session. Times are in samples."""

    language: str | None = None
    """The language last spoken for sure."""
    _text: str = ""
    _end: int = 0

    @property
    def background(self) -> Background:
        """What another needs to go on."""
        return Background(self.language, self._text, self._end)

    def recall(self, background: Background) -> None:
        """Go on where another left off."""
        self.language, self._text, self._end = background.language, background.text, background.end

    def before(self, start: int) -> str:
        """The text that goes before what is said from ``start`` on, perhaps none."""
        return self._text if start - self._end <= _SAMPLES else ""

    def take(self, hypothesis: Hypothesis, text: str, end: int) -> None:
        """Take a final: what was recognised, what was shown of it, and where it ended.

        After one that is doubtful there is no context; after a change of language no older one.
        """
        likely = hypothesis.language_probability >= LIKELY_LANGUAGE
        if likely and hypothesis.language != self.language:
            self.language, self._text = hypothesis.language, ""
        if likely and not hypothesis.redone and hypothesis.confidence >= _CLEAN_CONFIDENCE:
            self._text = f"{self._text} {text}".strip()[-_CHARACTERS:]
        else:
            self._text = ""
        self._end = end
