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

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from msgspec import UNSET

from streaming import wire
from streaming.actions import Action, Close, Decode, Detect, Emit
from streaming.captions import PARTIAL_MS, SHORTEST_ENDPOINT_MS, Captions
from streaming.errors import (
    AlreadyStarted,
    AlreadyStopped,
    BrokenStream,
    MessageTooLarge,
    NotStarted,
    ResumeUnknown,
    SurtitleError,
    TooManyErrors,
)
from streaming.pcm import CONTAINER_ENCODINGS, PcmDecoder, Windower
from streaming.ports import LanguageCatalogue
from streaming.segmenter import Segmenter, SegmenterConfig, SegmenterEvent
from streaming.text import clean
from streaming.translations import Translations
from streaming.types import (
    SAMPLE_RATE,
    WINDOW,
    Audio,
    Hypothesis,
    Probabilities,
    RecognitionJob,
    Translation,
    TranslationJob,
    Windows,
    seconds,
)

AUTO: Final = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """What is settable about sessions."""

    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    partial_ms: int = PARTIAL_MS
    """New audio after which an open utterance is recognised again; more in a long one."""
    max_message_bytes: int = 1 << 20
    idle_timeout_seconds: float = 60.0
    """Enforced by the driver; here only to be told."""
    max_errors: int = 100
    """Protocol errors after which the client is told to go away."""


@dataclass(slots=True, eq=False)
class _Heard:
    windows: Windows
    probabilities: Probabilities | None = None
    done: int = 0
    """Windows that were listened to."""


@dataclass(frozen=True, slots=True)
class _Finalize:
    marker: str | int | None


@dataclass(frozen=True, slots=True)
class _End:
    error: SurtitleError | None


class StreamSession:
    """A session. ``tenant`` is who pays, ``model`` what the client is told."""

    def __init__(
        self,
        session: str,
        *,
        languages: LanguageCatalogue,
        model: str,
        tenant: str = "",
        config: SessionConfig | None = None,
    ) -> None:
        self.id = session
        self.config = config or SessionConfig()
        self.audio_samples = 0
        """Samples of the client's audio received, at 16 kHz."""
        self._languages = languages
        self._model = model
        self._actions: list[Action] = []
        self._started = False
        self._pcm: PcmDecoder | None = None
        """None for a container, whose decoder is the driver's."""
        self._windower = Windower()
        self._segmenter = Segmenter(self.config.segmenter)
        self._inbox: deque[_Heard | _Finalize | _End] = deque()
        self._translations = Translations(
            session=session, tenant=tenant, languages=languages, actions=self._actions
        )
        self._captions = Captions(session, tenant, self._translations, self._actions)
        self._captions.pace.partial_ms = self.config.partial_ms
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
    def finals(self) -> int:
        """Finals emitted."""
        return self._captions.finals

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
        windows = sum(len(h.windows) - h.done for h in self._inbox if isinstance(h, _Heard))
        return windows * WINDOW / SAMPLE_RATE

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
        if self._ended:
            return
        if len(data) > self.config.max_message_bytes:
            self._too_large(len(data))
        elif not self._started:
            self._complain_once(NotStarted("audio came before `start`; it was not used"))
        elif self._ending is not None:
            self._complain_once(AlreadyStopped("audio came after `stop`; it was not used"))
        elif self._pcm is None:
            self._actions.append(Decode(data))
        else:
            self._hear(self._pcm.feed(data))

    def receive_samples(self, samples: Audio, *, last: bool = False) -> None:
        """Take what was decoded of a container. ``last`` answers the ``Decode`` that said so."""
        self._hear(samples)
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
        if self._ending is not None:
            return
        self._ending = _End(error)
        if not self._started:
            self._input_over = True
            self._conclude()
        elif self._pcm is None:
            self._awaiting_tail = True
            self._actions.append(Decode(b"", last=True))
        else:
            self._hear(self._pcm.flush())
            self._end_input(self._ending)

    def fail(self, error: SurtitleError) -> None:
        """End at once, with an error. What is unfinished is lost: only for faults of ours."""
        if not self._ended:
            self._captions.drop()
            self._close(error)

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

    # ------------------------------------------------------------ from the models

    def receive_probabilities(self, probabilities: Probabilities) -> None:
        """Take the voice activity of the oldest ``Detect`` not yet answered."""
        asked = (item for item in self._inbox if isinstance(item, _Heard))
        heard = next(item for item in asked if item.probabilities is None)
        heard.probabilities = probabilities
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
            return
        if not self._started:
            raise NotStarted("the first message must be `start`")
        if self._ending is not None:
            raise AlreadyStopped("the session is ending")
        match message:
            case wire.Configure():
                self._configure(message)
            case wire.Finalize(marker=marker):
                self._inbox.append(_Finalize(marker))
                self._advance()
            case wire.Stop():
                self.end(None)

    def _begin(self, start: wire.Start) -> None:
        if self._started:
            raise AlreadyStarted("the session has started; use `configure` to change it")
        if start.resume is not None:
            raise ResumeUnknown("no such session to resume; start without `resume`")
        # Everything that can be refused comes before anything is changed.
        encoding = start.encoding.lower()
        pcm = None
        if encoding not in CONTAINER_ENCODINGS:
            pcm = PcmDecoder(encoding, start.sample_rate, start.channels)
        language = None if start.source == AUTO else self._languages.spoken(start.source)
        targets = self._targets(start.targets)
        self._started = True
        self._pcm = pcm
        self._translations.targets = targets
        options = self._captions.options
        options.language = language
        options.vocabulary = _words(start.vocabulary)
        options.interim = start.interim
        options.words = start.word_timestamps
        if start.endpoint_ms is not None:
            self._segmenter.set_endpoint(start.endpoint_ms)
        limits = wire.Limits(
            max_message_bytes=self.config.max_message_bytes,
            max_segment_seconds=self.config.segmenter.max_ms / 1000,
            idle_timeout_seconds=self.config.idle_timeout_seconds,
        )
        self._emit(
            wire.ReadyEvent(session=self.id, resume_token=None, limits=limits, model=self._model)
        )
        if start.room is not None:
            self._emit(
                wire.WarningEvent(
                    code="room_unavailable",
                    message="this server has no rooms; the session runs for this connection alone",
                )
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
            self._segmenter.set_endpoint(message.endpoint_ms)

    def _targets(self, tags: list[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self._languages.target(tag) for tag in tags))

    # ------------------------------------------------------------ hearing

    def _hear(self, samples: Audio) -> None:
        self.audio_samples += samples.size
        self._detect(self._windower.feed(samples))

    def _detect(self, windows: Windows) -> None:
        if len(windows):
            self._inbox.append(_Heard(windows))
            self._actions.append(Detect(windows))

    def _end_input(self, ending: _End) -> None:
        self._awaiting_tail = False
        self._detect(self._windower.flush())
        self._inbox.append(ending)
        self._advance()

    def _advance(self) -> None:
        """Listen to what was heard, and carry out the commands whose turn has come."""
        while self._inbox:
            item = self._inbox[0]
            if isinstance(item, _Heard):
                if not self._listen(item):
                    return
            else:
                if self._captions.backlog:
                    return
                self._carry_out(item)
            self._inbox.popleft()
        self._conclude()

    def _carry_out(self, command: _Finalize | _End) -> None:
        self._tell(self._segmenter.close())
        match command:
            case _Finalize(marker=marker):
                self._captions.mark(marker)
            case _End():
                self._input_over = True

    def _listen(self, heard: _Heard) -> bool:
        """Listen to windows, as far as is possible now; whether that was all of them."""
        if heard.probabilities is None:
            return False
        while self._decided():
            if heard.done == len(heard.windows):
                return True
            now = slice(heard.done, heard.done + 1)
            heard.done += 1
            self._tell(self._segmenter.push(heard.windows[now], heard.probabilities[now]))
        return False

    def _decided(self) -> bool:
        """Whether all is known that decides what becomes of the next window."""
        if self._captions.backlog:
            return False
        utterance = self._segmenter.open
        if utterance is None:
            return True
        if not self._captions.on_progress(utterance):
            return False
        silence = self._segmenter.silence_ms
        if silence < SHORTEST_ENDPOINT_MS:
            return True
        endpoint = self._captions.endpoint_ms(utterance, self._segmenter.endpoint_ms)
        if endpoint is None:
            return False
        if silence >= endpoint:
            self._tell(self._segmenter.end_pause())
        return not self._captions.backlog

    def _tell(self, events: list[SegmenterEvent]) -> None:
        for event in events:
            self._captions.on_speech(event)

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
            self._close(self._ending.error)

    def _close(self, error: SurtitleError | None) -> None:
        self._ended = True
        if error is not None:
            self._emit(wire.ErrorEvent.of(error, fatal=True))
            self._actions.append(Close(error.close_code, error.code))
            return
        heard = seconds(self.audio_samples)
        usage = wire.Usage(audio_seconds=heard, characters=self.characters)
        self._emit(wire.DoneEvent(audio_seconds=heard, segments=self.finals, usage=usage))
        self._actions.append(Close(1000, ""))


def _words(vocabulary: list[str]) -> tuple[str, ...]:
    return tuple(word for word in map(clean, vocabulary) if word.strip())
