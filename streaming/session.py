"""One caption session as a state machine, without I/O.

Bytes and results go in through the ``receive_*`` methods; what is to be done comes out of
:meth:`StreamSession.actions`, which the caller drains after each call. Time is a count of the
client's own samples. Every result carries ``(segment, revision)``; one that is late is ignored.

What the client asked for in order takes effect in order: audio, ``finalize`` and ``stop`` wait in
one inbox until the voice-activity results of all audio before them are in. There, too, audio waits
while something has to be known that decides how it is cut: the final of the utterance before, and
whether a pause is the end of a sentence. So what a client gets does not depend on how fast it
sends, and a live speaker is never waited for longer than one decode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streaming import wire
from streaming.actions import Acknowledge, Action, Resume
from streaming.captions import Captions
from streaming.checkpoint import Checkpoint
from streaming.ending import End, Ending
from streaming.errors import (
    AlreadyStarted,
    AlreadyStopped,
    MessageTooLarge,
    NotStarted,
    SurtitleError,
    TooManyErrors,
)
from streaming.handover import Handover
from streaming.hearing import Hearing
from streaming.intake import Intake
from streaming.ports import LanguageCatalogue
from streaming.replies import RESTARTS, Replies
from streaming.segmenter import Segmenter
from streaming.session_config import SessionConfig
from streaming.terms import Terms
from streaming.translations import Translations
from streaming.types import (
    SAMPLE_RATE,
    Audio,
    Hypothesis,
    Probabilities,
    RecognitionJob,
    Translation,
    TranslationJob,
    Windows,
)


@dataclass(frozen=True, slots=True)
class _Finalize:
    marker: str | int | None


_Command = _Finalize | End


class StreamSession:
    """A session.

    ``tenant`` is who pays and ``weight`` their share, ``model`` what the client is told;
    ``token`` the secret with which it may go on over another connection. ``refusal`` is what
    speaks against a new session, for clients that were let in to go on with another.
    """

    def __init__(
        self,
        session: str,
        *,
        languages: LanguageCatalogue,
        model: str,
        tenant: str = "",
        weight: float = 1.0,
        config: SessionConfig | None = None,
        token: str | None = None,
        refusal: SurtitleError | None = None,
    ) -> None:
        self.id = session
        self.config = config or SessionConfig()
        self._refusal = refusal
        self._actions: list[Action] = []
        self._translations = Translations(
            session=session,
            tenant=tenant,
            weight=weight,
            languages=languages,
            actions=self._actions,
        )
        self._captions = Captions(session, tenant, weight, self._translations, self._actions)
        self._captions.pace.partial_ms = self.config.partial_ms
        self._hearing: Hearing[_Command] = Hearing(
            Segmenter(self.config.segmenter),
            self._captions,
            self._actions,
            carry_out=self._carry_out,
            retell=self._translations.speak,
        )
        self._intake = Intake(self._hearing, self._actions)
        self._terms = Terms(
            languages, self._intake, self._hearing, self._captions, self._translations
        )
        self._handover = Handover(
            session, self._terms, self._intake, self._hearing, self._captions, self._translations
        )
        self._replies = Replies(session, self.config, self._actions, token=token, model=model)
        self._started = False
        self._resumed = False
        self._ending = Ending(
            self._intake, self._hearing, self._captions, self._translations, self._replies
        )
        self._complained = False

    # ------------------------------------------------------------ what the driver asks

    @property
    def started(self) -> bool:
        return self._started

    @property
    def ending(self) -> bool:
        """Whether no more audio is taken."""
        return self._ending.begun

    @property
    def ended(self) -> bool:
        """Whether the connection is to be closed; nothing more will be emitted."""
        return self._ending.over

    @property
    def left(self) -> bool:
        """Whether it is ending for this server only, and may go on elsewhere."""
        return self._ending.left

    @property
    def container(self) -> bool:
        """Whether its audio comes in a container, which is decoded from its beginning."""
        return self._started and self._intake.container

    @property
    def finals(self) -> int:
        """Finals emitted."""
        return self._captions.finals

    @property
    def audio_bytes(self) -> int:
        """Bytes of the client's audio received."""
        return self._intake.bytes

    @property
    def audio_samples(self) -> int:
        """Samples of the client's audio received, at 16 kHz."""
        return self._hearing.samples

    @property
    def audio_ms(self) -> int:
        """Milliseconds of the client's audio received, begun ones too."""
        return -(-self.audio_samples * 1000 // SAMPLE_RATE)

    @property
    def characters(self) -> int:
        """Characters given to be translated, once for each target."""
        return self._translations.characters

    @property
    def behind(self) -> float:
        """Seconds of audio that wait to be listened to.

        A driver reads no more while this is high: a sender faster than speech is held back.
        """
        return self._hearing.behind

    @property
    def at_rest(self) -> bool:
        """Whether nobody speaks, and everything said is final and translated."""
        return self._hearing.at_rest and not self._pending

    @property
    def silence(self) -> float:
        """Seconds for which nobody has spoken, as far as was listened; 0 while something that was
        said is not final and translated, infinite where nobody has spoken yet.
        """
        segmenter = self._hearing.segmenter
        return segmenter.silence / SAMPLE_RATE if segmenter.idle and not self._pending else 0.0

    def actions(self) -> list[Action]:
        """What is to be done, in order. Each action is given once."""
        actions = self._actions[:]
        self._actions.clear()
        return actions

    # ------------------------------------------------------------ from the client

    def receive_text(self, data: str | bytes) -> None:
        """Take a text frame."""
        if self.ended:
            return
        if len(data) > self.config.max_message_bytes:
            self._too_large(len(data))
            return
        self._complained = False
        try:
            self._command(wire.decode(data))
        except SurtitleError as error:
            self._complain(error)

    def receive_binary(self, data: bytes) -> None:
        """Take a binary frame: audio."""
        if self.ended or self.left:
            return  # who goes on elsewhere is told there from where to send again
        if len(data) > self.config.max_message_bytes:
            self._too_large(len(data))
        elif not self._started:
            self._complain_once(NotStarted("audio came before `start`; it was not used"))
        elif self.ending:
            self._complain_once(AlreadyStopped("audio came after `stop`; it was not used"))
        else:
            self._intake.take(data)

    def spare(self, quiet: Callable[[Windows], int]) -> None:
        """Ask this, from now on, how many windows need not be searched for speech.

        It is :meth:`streaming.ports.VoiceStream.pass_over` of who answers the ``Detect``.
        """
        self._hearing.quiet = quiet

    def receive_samples(self, samples: Audio, *, last: bool = False) -> None:
        """Take what was decoded of a container. ``last`` answers the ``Decode`` that said so."""
        self._hearing.hear(samples)
        if last:
            self._ending.receive_tail()

    def receive_decoding_failure(self, error: SurtitleError) -> None:
        """The container can't be read any further: finalise what was heard, then end."""
        self._ending.receive_broken(error)

    def end(self, error: SurtitleError | None) -> None:
        """Take no more audio; finalise everything said, then say ``done`` or the fatal error."""
        self._ending.begin(End(error), started=self._started)

    def leave(self, *, complete: bool) -> None:
        """Take no more audio, finalise everything said, and close, for the server goes away.

        ``complete`` says that nobody goes on with the session elsewhere: it is ``done``.
        """
        how = End(close=RESTARTS, complete=complete and self._started)
        self._ending.begin(how, started=self._started)

    def finish(self) -> None:
        """Be over, without a word: everything was said in another process."""
        self._ending.finish()

    def fail(self, error: SurtitleError) -> None:
        """End at once, with an error. What is unfinished is lost: only for faults of ours."""
        self._ending.fail(error)

    def note_lag(self, lag: float) -> None:
        """Take that a live speaker's audio is listened to ``lag`` seconds late now."""
        self._captions.lag = lag

    def fall_behind(self, lag: float) -> None:
        """Give up partials, because audio is listened to ``lag`` seconds late; say so once."""
        if not self._captions.catching_up and self._started and not self.ended:
            self._captions.catching_up = True
            self._replies.lagging(lag)

    def catch_up(self) -> None:
        """Make partials again, after :meth:`fall_behind`."""
        if self._captions.catching_up and not self.ended:
            self._captions.catching_up = False
            self._replies.recovered()

    # ------------------------------------------------------------ another connection

    def refuse_resume(self, error: SurtitleError) -> None:
        """Answer a ``Resume``: there is nothing to go on with, and the client may start anew."""
        self._complain(error)

    def resumed(self, received: int) -> wire.ReadyEvent:
        """What another connection is told first, whose client has all events up to ``received``."""
        self._resumed = True
        ready = self._replies.ready()
        ready.seq = received
        ready.resumed = True
        ready.audio_received = self._intake.received
        ready.audio_received_bytes = self.audio_bytes
        if self._handover.first_segment is not None:
            ready.segment = self._handover.first_segment
        return ready

    def checkpoint(self) -> Checkpoint:
        """What another process needs to go on after everything that was emitted."""
        return self._handover.checkpoint()

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Go on where another process left off. Audio is then expected from its ``frame`` on.

        Raises ``ResumeImpossible``, and ``UnknownLanguage`` when other engines are here.
        """
        self._handover.go_on(checkpoint, self.config.segmenter)
        self._started = True

    # ------------------------------------------------------------ from the models

    def receive_probabilities(self, probabilities: Probabilities) -> None:
        """Take the voice activity of the oldest ``Detect`` not yet answered."""
        self._hearing.receive(probabilities)
        self._advance()

    def receive_hypothesis(self, job: RecognitionJob, hypothesis: Hypothesis) -> None:
        """Take what was recognised for a job of ours."""
        if job.task == "translate":
            self._translations.receive_spoken(job, hypothesis)
        else:
            self._captions.receive(job, hypothesis)
        self._advance()

    def receive_recognition_failure(self, job: RecognitionJob, error: SurtitleError) -> None:
        """Take that a job of ours failed."""
        if job.task == "translate":
            self._translations.receive_spoken_failure(job, error)
        else:
            self._captions.receive(job, error)
        self._advance()

    def receive_translation(self, job: TranslationJob, translation: Translation) -> None:
        """Take a translation of ours."""
        self._translations.receive(job, translation)
        self._ending.conclude()

    def receive_translation_failure(self, job: TranslationJob, error: SurtitleError) -> None:
        """Take that a translation failed."""
        self._translations.receive_failure(job, error)
        self._ending.conclude()

    # ------------------------------------------------------------ commands

    def _command(self, message: wire.ClientMessage) -> None:
        if isinstance(message, wire.Start):
            self._begin(message)
            return
        if isinstance(message, wire.Keepalive):
            if message.received_seq is not None:
                self._actions.append(Acknowledge(message.received_seq))
            return
        if not self._started:
            raise NotStarted("the first message must be `start`")
        if self.ending:
            if isinstance(message, wire.Stop) and (self._resumed or self.left):
                # A client that was cut off can't know that it came through, and one that will be
                # says it again.
                return
            raise AlreadyStopped("the session is ending")
        match message:
            case wire.Configure():
                self._terms.configure(message)
            case wire.Finalize(marker=marker):
                self._hearing.command(_Finalize(marker))
            case wire.Stop():
                self.end(None)

    def _begin(self, start: wire.Start) -> None:
        if self._started:
            raise AlreadyStarted("the session has started; use `configure` to change it")
        if start.resume is not None:
            # Which session that is, is known to whoever drives this one.
            self._actions.append(Resume(start.resume))
            return
        if self._refusal is not None:
            self.end(self._refusal)
            return
        self._terms.begin(start)
        self._started = True
        self._replies.emit(self._replies.ready())
        if start.room is not None:
            self._replies.no_rooms()

    def _carry_out(self, command: _Command) -> None:
        self._hearing.close()
        match command:
            case _Finalize(marker=marker):
                self._captions.mark(marker)
            case End():
                self._ending.carry_out()

    @property
    def _pending(self) -> bool:
        return self._captions.pending or self._translations.pending

    def _advance(self) -> None:
        self._hearing.advance()
        self._ending.conclude()

    # ------------------------------------------------------------ telling

    def _too_large(self, size: int) -> None:
        limit = self.config.max_message_bytes
        self.end(MessageTooLarge(f"a message of {size} bytes is over the limit of {limit}"))

    def _complain_once(self, error: SurtitleError) -> None:
        """Tell of frames that can't be used, once and not for each of them."""
        if not self._complained:
            self._complained = True
            self._complain(error)

    def _complain(self, error: SurtitleError) -> None:
        self._replies.complain(error)
        errors = self._replies.errors
        if errors >= self.config.max_errors:
            self.end(TooManyErrors(f"{errors} errors in one session"))
