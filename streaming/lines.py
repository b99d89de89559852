"""One segment in one target language: what is still to be translated, what is shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streaming.sentences import SourceSentence
from streaming.stabilizer import units
from streaming.steadying import Steadier, graft, joint

_ATTEMPTS: Final = 2


@dataclass(frozen=True, slots=True)
class Request:
    """A sentence to translate. ``prefix`` is what is shown of one that is still being spoken."""

    revision: int
    sentence: SourceSentence
    complete: bool
    prefix: str = ""


@dataclass(slots=True, eq=False)
class _Piece:
    """A sentence and its translation."""

    sentence: SourceSentence
    steadier: Steadier
    complete: bool = False
    translation: str | None = None
    """The last word, of a complete sentence."""
    asked: str = ""
    """What was last sent off of it while it was open."""
    revision: int | None = None
    """Under which it is being translated as a complete sentence."""
    attempts: int = 0

    @property
    def shown(self) -> str:
        return self.steadier.shown if self.translation is None else self.translation

    @property
    def failed(self) -> bool:
        """Whether it is complete and all attempts at it failed."""
        lost = self.translation is None and self.revision is None
        return self.complete and lost and self.attempts >= _ATTEMPTS

    def becomes(self, sentence: SourceSentence) -> bool:
        """Whether this, as it is heard now, is the sentence."""
        same = self.sentence.text == sentence.text
        return self.sentence.language == sentence.language and (same or not self.complete)


class Line:
    """One segment in one target. Its caption is ``stable + unstable``; ``stable`` only grows.

    Complete sentences are translated once each, side by side. Open ones are translated again when
    more of them was heard, once ``wait`` words are there, one call at a time.
    """

    def __init__(self, target: str, *, wait: int, steadier: Callable[[], Steadier]) -> None:
        self.target = target
        self.stable = ""
        self.unstable = ""
        self.due = False
        """Whether its source is final: what is to come is one event and no more."""
        self._wait = wait
        self._steadier = steadier
        self._pieces: list[_Piece] = []
        self._revision = 0
        self._flying: dict[int, _Piece] = {}
        """What is being translated, by revision."""
        self._interim: int | None = None
        """The revision of the open sentence that is being translated."""

    @property
    def finished(self) -> bool:
        """Whether all there is has been translated."""
        return all(piece.translation is not None for piece in self._pieces)

    @property
    def failed(self) -> bool:
        """Whether a complete sentence could not be translated, in spite of attempts."""
        return any(piece.failed for piece in self._pieces)

    @property
    def text(self) -> str:
        return self.stable + self.unstable

    # ------------------------------------------------------------ source

    def follow(self, sentences: Sequence[SourceSentence], complete: int) -> list[Request]:
        """Take the source as it is now; of its sentences the first so many are complete.

        Returns what is to be translated. Sentences seen before are not translated again.
        """
        pieces: list[_Piece] = []
        for number, sentence in enumerate(sentences):
            piece = self._pieces[number] if number < len(self._pieces) else None
            if piece is None or not piece.becomes(sentence):
                piece = _Piece(sentence, self._steadier())
            piece.sentence = sentence
            piece.complete = piece.complete or number < complete
            pieces.append(piece)
        self._pieces = pieces
        return self._requests()

    def conclude(self, sentences: Sequence[SourceSentence]) -> list[Request]:
        """Take the final source: ``follow``, and what failed before is tried again."""
        self.due = True
        for piece in self._pieces:
            if piece.revision is None:
                piece.attempts = 0
        return self.follow(sentences, len(sentences))

    # ------------------------------------------------------------ results

    def take(self, revision: int, translation: str) -> list[Request]:
        """Take a result; returns what is to be translated next. A late one changes nothing."""
        piece = self._landed(revision)
        if piece is None:
            return self._requests()
        if piece.revision == revision:
            piece.revision, piece.translation = None, translation.strip()
        else:
            piece.steadier.update(translation.strip())
        return self._requests()

    def fail(self, revision: int, *, retryable: bool) -> bool:
        """Take that a request failed; say whether it should be made once more as it was.

        An open sentence is not: it will be asked for again when more of it was heard. Nor is what
        was superseded by a source that changed.
        """
        piece = self._landed(revision)
        if piece is None or piece.revision != revision or piece not in self._pieces:
            return False
        if retryable and piece.attempts < _ATTEMPTS:
            piece.attempts += 1
            self._flying[revision] = piece
            return True
        piece.revision = None
        piece.attempts = _ATTEMPTS
        return False

    # ------------------------------------------------------------ caption

    def show(self) -> bool:
        """Bring ``stable`` and ``unstable`` up to date; say whether the caption changed."""
        if not self._pieces:
            return False
        settled = 0
        while settled < len(self._pieces) and self._pieces[settled].translation is not None:
            settled += 1
        return self._set(self._joined(settled), self._joined(len(self._pieces)))

    def mirror(self, stable: str, unstable: str) -> bool:
        """Show the source as it is; say whether the caption changed."""
        self._pieces.clear()
        return self._set(stable, stable + unstable)

    def final(self, text: str | None = None) -> str:
        """The last word: all translations, or a text, behind what is stable."""
        whole = self._joined(len(self._pieces)) if text is None else text
        return graft(self.stable, whole, self.target)

    # ------------------------------------------------------------ inside

    def _set(self, stable: str, text: str) -> bool:
        before = self.stable, self.unstable
        self.stable = graft(self.stable, stable, self.target)
        self.unstable = graft(self.stable, text, self.target)[len(self.stable) :]
        return (self.stable, self.unstable) != before

    def _landed(self, revision: int) -> _Piece | None:
        if revision == self._interim:
            self._interim = None
        return self._flying.pop(revision, None)

    def _requests(self) -> list[Request]:
        requests: list[Request] = []
        for piece in self._pieces:
            if not piece.complete:
                if self._interim is None and self._worth_it(piece):
                    piece.asked = piece.sentence.text
                    self._interim = self._next(piece)
                    shown = piece.steadier.shown
                    requests.append(Request(self._interim, piece.sentence, False, shown))
            elif piece.translation is None and piece.revision is None and not piece.failed:
                piece.attempts += 1
                piece.revision = self._next(piece)
                requests.append(Request(piece.revision, piece.sentence, complete=True))
        return requests

    def _worth_it(self, piece: _Piece) -> bool:
        """Whether enough of an open sentence was heard since it was last sent off."""
        text = piece.sentence.text
        return text != piece.asked and len(units(text)) >= self._wait

    def _next(self, piece: _Piece) -> int:
        self._revision += 1
        self._flying[self._revision] = piece
        return self._revision

    def _joined(self, count: int) -> str:
        """The first so many pieces, up to one that has nothing to show."""
        text = ""
        for piece in self._pieces[:count]:
            if piece.shown:
                text += joint(piece.sentence.gap, self.target) if text else ""
                text += piece.shown
            elif piece.translation is None:
                break
        return text
