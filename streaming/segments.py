"""One utterance on its way from the first partial to its final: what was asked, what was answered.

Questions overlap: a partial may still be with the recogniser when the next is asked for, or the
final that a pause lets begin. Answers are applied in the order of the questions whatever order
they come in, so that what is shown and made stable depends on the audio and not on which of the
recogniser's workers was quicker.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streaming.errors import SurtitleError
from streaming.stabilizer import Stabilizer
from streaming.types import Hypothesis, RecognitionJob
from streaming.utterance import Utterance

Answer = Hypothesis | SurtitleError


@dataclass(slots=True)
class Segment:
    """An utterance and its recognition. Revisions count from 1."""

    utterance: Utterance
    stabilizer: Stabilizer = field(default_factory=Stabilizer)
    language: str = ""
    """As last heard."""
    asked: int = 0
    """The newest revision asked for."""
    applied: int = 0
    """All revisions up to this one were answered, and the answers applied."""
    early: dict[int, tuple[RecognitionJob, Answer]] = field(default_factory=dict)
    """Answers that wait for those before them."""
    asked_end: int = 0
    asked_speech_end: int = 0
    """Where the audio, and the speech in it, ended in the newest asked for."""
    newest: tuple[int, Hypothesis] | None = None
    """The newest hypothesis applied, and its revision."""
    shown: bool = False
    """Whether anything of it was ever shown."""
    pause_end: int | None = None
    """Where the audio ends if the pause under way is the end."""
    speculative: int | None = None
    """The revision that will be the final unless speech goes on."""
    speculated: Hypothesis | None = None
    """Its answer, also before its turn has come."""
    end: int | None = None
    """Where the audio ends, once it does."""
    final: int | None = None
    """The revision that is the last word."""
    attempts: int = 1
    result: Hypothesis | None = None
    """The last word."""
    markers: list[str | int | None] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    """Words at its beginning that the segment before has shown."""

    @property
    def unanswered(self) -> int:
        """Questions without an answer that could be applied."""
        return self.asked - self.applied

    def skip(self, words: list[str]) -> None:
        """Leave out words that the segment before has shown."""
        self.skipped = words
        self.stabilizer.skip(words)

    def speech_goes_on(self) -> None:
        """Forget the pause."""
        self.pause_end = self.speculative = self.speculated = None

    def take(self, job: RecognitionJob, answer: Answer) -> Iterator[tuple[RecognitionJob, Answer]]:
        """Note an answer; yield those whose turn has come, in order.

        One that was given before, or was never asked for, changes nothing.
        """
        if not self.applied < job.revision <= self.asked or job.revision in self.early:
            return
        self.early[job.revision] = job, answer
        if job.revision == self.speculative and isinstance(answer, Hypothesis):
            self.speculated = answer
        while self.applied + 1 in self.early:
            self.applied += 1
            yield self.early.pop(self.applied)
