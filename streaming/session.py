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

from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET
from msgspec.structs import replace

from streaming import wire
from streaming.actions import Acknowledge, Action, Close, Decode, Emit, Resume
from streaming.captions import PARTIAL_MS, Captions
from streaming.checkpoint import Checkpoint
from streaming.errors import (
    AlreadyStarted,
    AlreadyStopped,
    BrokenStream,
    MessageTooLarge,
    NotStarted,
    ResumeImpossible,
    SurtitleError,
    TooManyErrors,
)
from streaming.hearing import Hearing
from streaming.pcm import CONTAINER_ENCODINGS, PcmDecoder
from streaming.ports import LanguageCatalogue
from streaming.segmenter import Segmenter, SegmenterConfig
from streaming.text import clean
from streaming.translations import Translations
from streaming.types import (
    SAMPLE_RATE,
    Audio,
    Hypothesis,
    Probabilities,
    RecognitionJob,
    Translation,
    TranslationJob,
    seconds,
)

AUTO: Final = "auto"
_RESTARTS: Final = 1012
"""The close code of a server that goes away while another one may go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """What is settable about sessions."""

    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    partial_ms: int = PARTIAL_MS
    """New audio after which an open utterance is recognised again; more in a long one."""
    max_message_bytes: int = 1 << 20
    idle_timeout_seconds: float = 60.0
    """Enforced by the driver, as is the next; here only to be told."""
    resume_seconds: float = 0.0
    max_errors: int = 100
    """Protocol errors after which the client is told to go away."""


@dataclass(frozen=True, slots=True)
class _Finalize:
    marker: str | int | None


@dataclass(frozen=True, slots=True)
class _End:
    error: SurtitleError | None = None
    close: int = 1000
    complete: bool = True
    """Whether nobody goes on with the session elsewhere."""


_Command = _Finalize | _End


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
        self.audio_bytes = 0
        """Bytes of the client's audio received."""
        self._token = token
        self._refusal = refusal
        self._languages = languages
        self._model = model
        self._actions: list[Action] = []
        self._started = False
        self._format = wire.Start()
        """The first ``start``, of which the form of the audio stays."""
        self._pcm: PcmDecoder | None = None
        """None for a container, whose decoder is the driver's."""
        self._resumed = False
        self._first_segment: int | None = None
        """The first of a session that another process began."""
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
        self._ending: _End | None = None
        """How the session will end, once everything before is done."""
        self._awaiting_tail = False
        """Whether a container's rest is still being decoded."""
        self._input_over = False
        self._ended = False
        self._errors = 0
        self._complained = False

    # ------------------------------------------------------------ what the driver asks

    @property
    def started(self) -> bool:
        return self._started

    @property
    def ending(self) -> bool:
        """Whether no more audio is taken."""
        return self._ending is not None

    @property
    def ended(self) -> bool:
        """Whether the connection is to be closed; nothing more will be emitted."""
        return self._ended

    @property
    def left(self) -> bool:
        """Whether it is ending for this server only, and may go on elsewhere."""
        return self._ending is not None and not self._ending.complete

    @property
    def container(self) -> bool:
        """Whether its audio comes in a container, which is decoded from its beginning."""
        return self._started and self._pcm is None

    @property
    def finals(self) -> int:
        """Finals emitted."""
        return self._captions.finals

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
        return (
            self._hearing.at_rest and not self._captions.pending and not self._translations.pending
        )

    def actions(self) -> list[Action]:
        """What is to be done, in order. Each action is given once."""
        actions = self._actions[:]
        self._actions.clear()
        return actions

    # ------------------------------------------------------------ from the client

    def receive_text(self, data: str | bytes) -> None:
        """Take a text frame."""
        if self._ended:
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
        if self._ended or self.left:
            return  # who goes on elsewhere is told there from where to send again
        if len(data) > self.config.max_message_bytes:
            self._too_large(len(data))
        elif not self._started:
            self._complain_once(NotStarted("audio came before `start`; it was not used"))
        elif self._ending is not None:
            self._complain_once(AlreadyStopped("audio came after `stop`; it was not used"))
        else:
            self.audio_bytes += len(data)
            if self._pcm is None:
                self._actions.append(Decode(data))
            else:
                self._hearing.hear(self._pcm.feed(data))

    def receive_samples(self, samples: Audio, *, last: bool = False) -> None:
        """Take what was decoded of a container. ``last`` answers the ``Decode`` that said so."""
        self._hearing.hear(samples)
        if last and self._ending is not None and self._awaiting_tail:
            self._end_input(self._ending)

    def receive_decoding_failure(self, error: SurtitleError) -> None:
        """The container can't be read any further: finalise what was heard, then end."""
        if self._ending is not None and self._awaiting_tail:
            self._emit(wire.ErrorEvent.of(error, fatal=False))
            self._end_input(self._ending)
        elif self._ending is None:
            self._ending = _End(BrokenStream(error.message))
            self._end_input(self._ending)

    def end(self, error: SurtitleError | None) -> None:
        """Take no more audio; finalise everything said, then say ``done`` or the fatal error."""
        self._end(_End(error))

    def leave(self, *, complete: bool) -> None:
        """Take no more audio, finalise everything said, and close, for the server goes away.

        ``complete`` says that nobody goes on with the session elsewhere: it is ``done``.
        """
        self._end(_End(close=_RESTARTS, complete=complete and self._started))

    def _end(self, ending: _End) -> None:
        if self._ending is not None:
            return
        self._ending = ending
        if not self._started:
            self._input_over = True
            self._conclude()
        elif not ending.complete:
            # The last samples, fewer than a window, are heard by who goes on.
            self._hearing.command(ending)
            self._conclude()
        elif self._pcm is None:
            self._awaiting_tail = True
            self._actions.append(Decode(b"", last=True))
        else:
            self._hearing.hear(self._pcm.flush())
            self._end_input(ending)

    def finish(self) -> None:
        """Be over, without a word: everything was said in another process."""
        self._ending = self._ending or _End()
        self._ended = True

    def fail(self, error: SurtitleError) -> None:
        """End at once, with an error. What is unfinished is lost: only for faults of ours."""
        if not self._ended:
            self._captions.drop()
            self._close(_End(error))

    def fall_behind(self, lag: float) -> None:
        """Give up partials, because audio is listened to ``lag`` seconds late; say so once."""
        if not self._captions.catching_up and self._started and not self._ended:
            self._captions.catching_up = True
            self._warn_of_lag("lagging", "the server is late: finals only, until it is not", lag)

    def catch_up(self) -> None:
        """Make partials again, after :meth:`fall_behind`."""
        if self._captions.catching_up and not self._ended:
            self._captions.catching_up = False
            self._warn_of_lag("recovered", "the server is up to date again", 0.0)

    def _warn_of_lag(self, code: str, message: str, lag: float) -> None:
        details = {"lag_seconds": round(lag, 1)}
        self._emit(wire.WarningEvent(code=code, message=message, details=details))

    # ------------------------------------------------------------ another connection

    def refuse_resume(self, error: SurtitleError) -> None:
        """Answer a ``Resume``: there is nothing to go on with, and the client may start anew."""
        self._complain(error)

    def resumed(self, received: int) -> wire.ReadyEvent:
        """What another connection is told first, whose client has all events up to ``received``."""
        self._resumed = True
        ready = self._ready()
        ready.seq = received
        ready.resumed = True
        ready.audio_received = self._audio_received
        ready.audio_received_bytes = self.audio_bytes
        if self._first_segment is not None:
            ready.segment = self._first_segment
        return ready

    @property
    def _audio_received(self) -> float:
        if self._pcm is None:
            return seconds(self.audio_samples)
        return round(self.audio_bytes / self._pcm.frame / self._format.sample_rate, 3)

    def checkpoint(self) -> Checkpoint:
        """What another process needs to go on after everything that was emitted."""
        captions, translations = self._captions, self._translations
        segmenter, oldest = self._hearing.segmenter, captions.oldest
        place = segmenter.place(oldest.utterance if oldest else None)
        if oldest is not None and place.rest is not None:
            place = replace(place, rest=replace(place.rest, skip=oldest.skipped))
        return Checkpoint(
            session=self.id,
            encoding=self._format.encoding,
            sample_rate=self._format.sample_rate,
            channels=self._format.channels,
            language=captions.options.language,
            targets=list(translations.targets),
            interim=captions.options.interim,
            words=captions.options.words,
            vocabulary=list(captions.options.vocabulary),
            endpoint_ms=segmenter.endpoint_ms,
            place=place,
            segment=segmenter.next_segment,
            finals=self.finals,
            characters=self.characters,
            background=captions.context.background,
            owed=translations.owed,
            warned=translations.warned,
        )

    def go_on(self, checkpoint: Checkpoint) -> None:
        """Go on where another process left off. Audio is then expected from its ``frame`` on.

        Raises ``ResumeImpossible``, and ``UnknownLanguage`` when other engines are here.
        """
        if checkpoint.encoding in CONTAINER_ENCODINGS:
            raise ResumeImpossible(
                "a container can only be decoded from its beginning: begin a new session, with a "
                "new container"
            )
        self._pcm = PcmDecoder(checkpoint.encoding, checkpoint.sample_rate, checkpoint.channels)
        self._translations.targets = self._targets(checkpoint.targets)
        self._started = True
        self._format = wire.Start(
            encoding=checkpoint.encoding,
            sample_rate=checkpoint.sample_rate,
            channels=checkpoint.channels,
        )
        self.audio_bytes = checkpoint.frame * self._pcm.frame
        self._first_segment = checkpoint.segment
        self._captions.recall(checkpoint)
        segmenter = Segmenter(
            self.config.segmenter,
            position=checkpoint.position,
            place=checkpoint.place,
            segment=checkpoint.segment,
        )
        segmenter.set_endpoint(checkpoint.endpoint_ms)
        self._hearing.go_on(segmenter, self._translations.recall(checkpoint))

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
        self._conclude()

    def receive_translation_failure(self, job: TranslationJob, error: SurtitleError) -> None:
        """Take that a translation failed."""
        self._translations.receive_failure(job, error)
        self._conclude()

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
        if self._ending is not None:
            if isinstance(message, wire.Stop) and (self._resumed or self.left):
                # A client that was cut off can't know that it came through, and one that will be
                # says it again.
                return
            raise AlreadyStopped("the session is ending")
        match message:
            case wire.Configure():
                self._configure(message)
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
        # Everything that can be refused comes before anything is changed.
        encoding = start.encoding.lower()
        pcm = None
        if encoding not in CONTAINER_ENCODINGS:
            pcm = PcmDecoder(encoding, start.sample_rate, start.channels)
        language = None if start.source == AUTO else self._languages.spoken(start.source)
        targets = self._targets(start.targets)
        self._started = True
        self._format = replace(start, encoding=encoding)
        self._pcm = pcm
        self._translations.targets = targets
        options = self._captions.options
        options.language = language
        options.vocabulary = _words(start.vocabulary)
        options.interim = start.interim
        options.words = start.word_timestamps
        if start.endpoint_ms is not None:
            self._hearing.segmenter.set_endpoint(start.endpoint_ms)
        self._emit(self._ready())
        if start.room is not None:
            self._emit(
                wire.WarningEvent(
                    code="room_unavailable",
                    message="this server has no rooms; the session runs for this connection alone",
                )
            )

    def _ready(self) -> wire.ReadyEvent:
        limits = wire.Limits(
            max_message_bytes=self.config.max_message_bytes,
            max_segment_seconds=self.config.segmenter.max_ms / 1000,
            idle_timeout_seconds=self.config.idle_timeout_seconds,
            resume_seconds=self.config.resume_seconds,
        )
        return wire.ReadyEvent(
            session=self.id, resume_token=self._token, limits=limits, model=self._model
        )

    def _configure(self, message: wire.Configure) -> None:
        targets = None if message.targets is UNSET else self._targets(message.targets)
        if targets is not None:
            self._translations.targets = targets
        options = self._captions.options
        if message.interim is not UNSET:
            options.interim = message.interim
        if message.vocabulary is not UNSET:
            options.vocabulary = _words(message.vocabulary)
        if message.endpoint_ms is not UNSET:
            self._hearing.segmenter.set_endpoint(message.endpoint_ms)

    def _targets(self, tags: list[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._languages.target(tag) for tag in tags))

    def _end_input(self, ending: _End) -> None:
        self._awaiting_tail = False
        self._hearing.finish()
        self._hearing.command(ending)
        self._conclude()

    def _carry_out(self, command: _Command) -> None:
        self._hearing.close()
        match command:
            case _Finalize(marker=marker):
                self._captions.mark(marker)
            case _End():
                self._hearing.give_up()
                self._input_over = True

    def _advance(self) -> None:
        self._hearing.advance()
        self._conclude()

    # ------------------------------------------------------------ telling

    def _emit(self, event: wire.Event) -> None:
        self._actions.append(Emit(event))

    def _too_large(self, size: int) -> None:
        limit = self.config.max_message_bytes
        self.end(MessageTooLarge(f"a message of {size} bytes is over the limit of {limit}"))

    def _complain_once(self, error: SurtitleError) -> None:
        """Tell of frames that can't be used, once and not for each of them."""
        if not self._complained:
            self._complained = True
            self._complain(error)

    def _complain(self, error: SurtitleError) -> None:
        self._emit(wire.ErrorEvent.of(error))
        self._errors += 1
        if self._errors >= self.config.max_errors:
            self.end(TooManyErrors(f"{self._errors} errors in one session"))

    def _conclude(self) -> None:
        """End, if everything that was to come has come."""
        if self._ending is None or not self._input_over or self._ended:
            return
        if not self._captions.pending and not self._translations.pending:
            self._close(self._ending)

    def _close(self, ending: _End) -> None:
        self._ended = True
        error = ending.error
        if error is not None:
            self._emit(wire.ErrorEvent.of(error, fatal=True))
            self._actions.append(Close(error.close_code, error.code))
            return
        if ending.complete:
            heard = seconds(self.audio_samples)
            usage = wire.Usage(audio_seconds=heard, characters=self.characters)
            self._emit(wire.DoneEvent(audio_seconds=heard, segments=self.finals, usage=usage))
        self._actions.append(Close(ending.close, "draining" if ending.close == _RESTARTS else ""))


def _words(vocabulary: list[str]) -> tuple[str, ...]:
    return tuple(word for word in map(clean, vocabulary) if word.strip())
