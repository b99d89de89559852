"""The captions of one session: from utterances to partials and finals.

While an utterance is open its audio is recognised again and again, and the hypotheses are
stabilised into partials. When it pauses its final is begun, before anyone knows that it is one.
Finals come out in the order in which they were spoken, one for each utterance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from streaming import wire
from streaming.actions import Action, Cancel, Emit, Recognize
from streaming.errors import SurtitleError
from streaming.segmenter import Closed, Opened, Paused, Resumed, SegmenterEvent, Utterance
from streaming.stabilizer import Stabilizer
from streaming.translations import Translations
from streaming.types import SAMPLE_RATE, Hypothesis, Priority, RecognitionJob, seconds

_ATTEMPTS: Final = 2
_MIN_LANGUAGE_PROBABILITY: Final = 0.5
_SENTENCE_ENDS: Final = tuple(".?!。？！؟।")


@dataclass(slots=True, kw_only=True)
class CaptionOptions:
    """What the client asked for. Changed while running by ``configure``."""

    language: str | None = None
    """The language spoken, if the client said so."""
    vocabulary: tuple[str, ...] = ()
    interim: bool = True
    words: bool = False
    partial_ms: int = 480
    """New audio after which an open utterance is recognised again."""


@dataclass(slots=True)
class _Segment:
    """An utterance on its way from the first partial to its final."""

    utterance: Utterance
    stabilizer: Stabilizer = field(default_factory=Stabilizer)
    language: str = ""
    revision: int = 0
    """The newest asked for."""
    asked_end: int = 0
    asked_speech_end: int = 0
    """Where the audio, and the speech in it, ended in the newest asked for."""
    newest: tuple[int, Hypothesis] | None = None
    """The newest result and its revision."""
    shown: bool = False
    speculative: int | None = None
    """The revision that will be the final unless speech goes on."""
    end: int | None = None
    """Where the audio ends, once it does."""
    final: int | None = None
    """The revision that is the last word."""
    attempts: int = 1
    result: Hypothesis | None = None
    """The last word."""
    markers: list[str | int | None] = field(default_factory=list)


class Captions:
    """Plans the recognition of a session and takes its results."""

    def __init__(
        self, session: str, tenant: str, translations: Translations, actions: list[Action]
    ) -> None:
        self.options = CaptionOptions()
        self.finals = 0
        """Finals emitted."""
        self._session = session
        self._tenant = tenant
        self._translations = translations
        self._actions = actions
        self._segments: dict[int, _Segment] = {}
        self._language: str | None = None
        """The language last spoken for sure."""
        self._cut = False
        """Whether the utterance that opens next goes on with the one before."""

    @property
    def pending(self) -> bool:
        """Whether a final is still to come."""
        return bool(self._segments)

    @property
    def backlog(self) -> int:
        """Utterances that are over and wait for their finals."""
        return sum(segment.end is not None for segment in self._segments.values())

    @property
    def unfinished_since(self) -> int | None:
        """Where the oldest speech without a final begins, in samples, or None."""
        first = next(iter(self._segments.values()), None)
        return first.utterance.onset if first else None

    def drop(self) -> None:
        """Forget everything unfinished."""
        self._segments.clear()

    # ------------------------------------------------------------ from the segmenter

    def on_speech(self, event: SegmenterEvent) -> None:
        """Follow the segmenter."""
        match event:
            case Opened(utterance=utterance):
                self._segments[utterance.segment] = _Segment(utterance)
                if not self._cut:
                    self._emit(wire.SpeechStartedEvent(at=seconds(utterance.onset)))
            case Paused(utterance=utterance, end=end):
                segment = self._segments[utterance.segment]
                segment.speculative = self._ask(segment, Priority.FINAL, end)
            case Resumed(utterance=utterance):
                self._segments[utterance.segment].speculative = None
            case Closed(utterance=utterance, end=end, cut=cut):
                self._cut = cut
                if not cut:
                    self._emit(wire.SpeechEndedEvent(at=seconds(utterance.speech_end)))
                self._close(self._segments[utterance.segment], end)

    def on_progress(self, utterance: Utterance) -> None:
        """More was heard of the open utterance: have it recognised again when it is time."""
        segment = self._segments[utterance.segment]
        heard = utterance.end - (segment.asked_end or utterance.start)
        more_speech = utterance.speech_end > segment.asked_speech_end
        due = heard * 1000 >= self.options.partial_ms * SAMPLE_RATE
        if self.options.interim and more_speech and due:
            self._ask(segment, Priority.PARTIAL, None)

    def ends_sentence(self, utterance: Utterance) -> bool | None:
        """Whether a paused utterance reads like a whole sentence. None: not known yet."""
        segment = self._segments[utterance.segment]
        if segment.speculative is None:
            return False
        if segment.newest is None or segment.newest[0] < segment.speculative:
            return None
        text = segment.newest[1].text
        return text.endswith(_SENTENCE_ENDS) and not text.endswith("...")

    def mark(self, marker: str | int | None) -> None:
        """Echo a marker after the finals of everything said before it."""
        if self._segments:
            self._segments[max(self._segments)].markers.append(marker)
        else:
            self._emit(wire.MarkerEvent(marker=marker))

    # ------------------------------------------------------------ from the recogniser

    def receive(self, job: RecognitionJob, hypothesis: Hypothesis) -> None:
        segment = self._segments.get(job.segment)
        if segment is None or segment.result is not None:
            return
        if segment.final is not None:
            if job.revision == segment.final:
                segment.result = hypothesis
                self._emit_finals()
            return
        if segment.newest is not None and job.revision <= segment.newest[0]:
            return
        segment.newest = (job.revision, hypothesis)
        segment.language = hypothesis.language
        if segment.stabilizer.update(hypothesis.text) and self.options.interim:
            self._emit_partial(segment, job)

    def receive_failure(self, job: RecognitionJob, error: SurtitleError) -> None:
        """Take a failure. A partial's is made good by what follows it."""
        segment = self._segments.get(job.segment)
        if segment is None or segment.result is not None:
            return
        if segment.final is None:
            if job.revision == segment.speculative:
                segment.speculative = None
            return
        if job.revision != segment.final:
            return
        if error.retryable and segment.attempts < _ATTEMPTS:
            segment.attempts += 1
            segment.final = self._ask(segment, Priority.FINAL, segment.end)
            return
        self._emit(wire.ErrorEvent.of(error, fatal=False, segment=job.segment))
        # What was last shown is the best there is.
        caption = segment.stabilizer.stable + segment.stabilizer.unstable
        language = segment.language or self.options.language or self._language or ""
        segment.result = Hypothesis(text=caption, language=language, confidence=0.0)
        self._emit_finals()

    # ------------------------------------------------------------ inside

    def _emit(self, event: wire.Event) -> None:
        self._actions.append(Emit(event))

    def _ask(self, segment: _Segment, priority: Priority, end: int | None) -> int:
        """Have a segment's audio recognised up to a sample, or all of it; return the revision."""
        utterance, options = segment.utterance, self.options
        audio = utterance.audio(end)
        segment.revision += 1
        segment.asked_end = utterance.start + audio.size
        segment.asked_speech_end = utterance.speech_end
        job = RecognitionJob(
            session=self._session,
            segment=utterance.segment,
            revision=segment.revision,
            audio=audio,
            priority=priority,
            language=options.language,
            language_hint=self._language if options.language is None else None,
            vocabulary=options.vocabulary,
            words=options.words and priority is Priority.FINAL,
            tenant=self._tenant,
        )
        self._actions.append(Recognize(job))
        return segment.revision

    def _close(self, segment: _Segment, end: int) -> None:
        segment.end = end
        if segment.speculative is None:
            segment.final = self._ask(segment, Priority.FINAL, end)
        else:
            segment.final = segment.speculative
            if segment.newest is not None and segment.newest[0] == segment.final:
                segment.result = segment.newest[1]
        self._actions.append(Cancel(segment.utterance.segment, segment.final))
        self._emit_finals()

    def _emit_partial(self, segment: _Segment, job: RecognitionJob) -> None:
        utterance, caption = segment.utterance, segment.stabilizer
        segment.shown = True
        event = wire.PartialEvent(
            segment=utterance.segment,
            start=seconds(utterance.onset),
            end=seconds(utterance.start + job.audio.size),
            language=segment.language,
            stable=caption.stable,
            unstable=caption.unstable,
        )
        self._emit(event)
        self._translations.interim(
            utterance.segment, segment.language, caption.stable, caption.unstable
        )

    def _emit_finals(self) -> None:
        """Emit the finals that are there, in the order they were spoken."""
        for number, segment in list(self._segments.items()):
            if segment.result is None:
                break
            del self._segments[number]
            self._emit_final(segment, segment.result)
            for marker in segment.markers:
                self._emit(wire.MarkerEvent(marker=marker))

    def _emit_final(self, segment: _Segment, hypothesis: Hypothesis) -> None:
        utterance = segment.utterance
        text = segment.stabilizer.finish(hypothesis.text)
        if not text and not segment.shown:
            # Noise that sounded like speech: nothing was shown, so nothing is to be finished.
            return
        if hypothesis.text and hypothesis.language_probability >= _MIN_LANGUAGE_PROBABILITY:
            self._language = hypothesis.language
        event = wire.FinalEvent(
            segment=utterance.segment,
            start=seconds(utterance.onset),
            end=seconds(utterance.speech_end),
            language=hypothesis.language,
            text=text,
            confidence=round(hypothesis.confidence, 3),
        )
        if self.options.words:
            event.words = wire.word_timings(hypothesis.words or (), utterance.start / SAMPLE_RATE)
        self._emit(event)
        self.finals += 1
        audio = utterance.audio(segment.end)
        self._translations.final(utterance.segment, hypothesis.language, text, audio)
