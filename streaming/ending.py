"""How a session ends: no more audio is taken, everything said becomes final, and that is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streaming import wire
from streaming.captions import Captions
from streaming.errors import BrokenStream, SurtitleError
from streaming.hearing import Hearing
from streaming.intake import Intake
from streaming.replies import Replies
from streaming.translations import Translations
from streaming.types import seconds


@dataclass(frozen=True, slots=True)
class End:
    """The command with which a session ends."""

    error: SurtitleError | None = None
    close: int = 1000
    complete: bool = True
    """Whether nobody goes on with the session elsewhere."""


class Ending:
    """The end of one session. The first reason to end is the one that counts."""

    def __init__(
        self,
        intake: Intake,
        hearing: Hearing[Any],
        captions: Captions,
        translations: Translations,
        replies: Replies,
    ) -> None:
        self.over = False
        """Whether the client was told, or need not be; nothing more will be emitted."""
        self._intake = intake
        self._hearing = hearing
        self._captions = captions
        self._translations = translations
        self._replies = replies
        self._how: End | None = None
        """How it will end, once everything before is done."""
        self._awaiting_tail = False
        """Whether a container's rest is still being decoded."""
        self._input_over = False

    @property
    def begun(self) -> bool:
        """Whether no more audio is taken."""
        return self._how is not None

    @property
    def left(self) -> bool:
        """Whether it is for this server only, and the session may go on elsewhere."""
        return self._how is not None and not self._how.complete

    def begin(self, how: End, *, started: bool) -> None:
        """Take no more audio. A session that was not ``started`` has nothing to finalise."""
        if self._how is not None:
            return
        self._how = how
        if not started:
            self._input_over = True
            self.conclude()
        elif not how.complete:
            # The last samples, fewer than a window, are heard by who goes on.
            self._hearing.command(how)
            self.conclude()
        elif self._intake.finish():
            self._end_input(how)
        else:
            self._awaiting_tail = True

    def receive_tail(self) -> None:
        """Take that the last samples of a container were heard."""
        if self._how is not None and self._awaiting_tail:
            self._end_input(self._how)

    def receive_broken(self, error: SurtitleError) -> None:
        """Take that the container can't be read any further."""
        if self._how is not None and self._awaiting_tail:
            self._replies.emit(wire.ErrorEvent.of(error, fatal=False))
            self._end_input(self._how)
        elif self._how is None:
            self._how = End(BrokenStream(error.message))
            self._end_input(self._how)

    def carry_out(self) -> None:
        """Everything that came before the end was heard."""
        self._hearing.give_up()
        self._input_over = True

    def conclude(self) -> None:
        """End, if everything that was to come has come."""
        if self._how is None or not self._input_over or self.over:
            return
        if not self._captions.pending and not self._translations.pending:
            self._close(self._how)

    def fail(self, error: SurtitleError) -> None:
        """End at once; what is unfinished is lost."""
        if not self.over:
            self._captions.drop()
            self._close(End(error))

    def finish(self) -> None:
        """Be over, without a word."""
        self._how = self._how or End()
        self.over = True

    def _end_input(self, how: End) -> None:
        self._awaiting_tail = False
        self._hearing.finish()
        self._hearing.command(how)
        self.conclude()

    def _close(self, how: End) -> None:
        self.over = True
        if how.error is not None:
            self._replies.fail(how.error)
            return
        if how.complete:
            heard = seconds(self._hearing.samples)
            self._replies.done(heard, self._captions.finals, self._translations.characters)
        self._replies.close(how.close)
