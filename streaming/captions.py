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
from streaming.errors import Overloaded, SurtitleError
from streaming.segmenter import Closed, Opened, Paused, Resumed, SegmenterEvent, Utterance
from streaming.stabilizer import Stabilizer
from streaming.translations import Translations
from streaming.types import SAMPLE_RATE, Hypothesis, Priority, RecognitionJob, seconds

_ATTEMPTS: Final = 2
_MIN_LANGUAGE_PROBABILITY: Final = 0.5
_MAX_STRETCH: Final = 16
_SENTENCE_ENDS: Final = tuple(".?!。？！؟।")


@dataclass(slots=True, kw_only=True)
class CaptionOptions:
    """What the client asked for. Changed while running by ``configure``."""

    language: str | None = None
    """The language spoken, if the client said so."""
    vocabulary: tuple[str, ...] = ()
    interim: bool = True
    words: bool = False
    partial_ms: int = 640
    """New audio after which an open utterance is recognised again."""


@dataclass(slots=True)
class _Segment:
    """An utterance on its way from the first partial to its final."""

    utterance: Utterance
    stabilizer: Stabilizer = field(default_factory=Stabilizer)
    language: str = ""
    revision: int = 0
    """The newest asked for."""
    answered: int = 0
    """The newest answered, well or not."""
    asked_end: int = 0
    asked_speech_end: int = 0
    """Where the audio, and the speech in it, ended in the newest asked for."""
    newest: tuple[int, Hypothesis] | None = None
    """The newest result and its revision."""
    shown: bool = False
    pause_end: int | None = None
    """Where the audio ends if the pause under way is the end."""
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
        self._stretch = 1
        """By how much partials are rarer than asked for, because the server can't keep up."""
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
                self._segments[utterance.segment].pause_end = end
            case Resumed(utterance=utterance):
                segment = self._segments[utterance.segment]
                segment.pause_end = segment.speculative = None
            case Closed(utterance=utterance, end=end, cut=cut):
                self._cut = cut
                if not cut:
                    self._emit(wire.SpeechEndedEvent(at=seconds(utterance.speech_end)))
                self._close(self._segments[utterance.segment], end)

    def on_progress(self, utterance: Utterance) -> bool:
        """Have the open utterance recognised again, if it is time.

        False: it is time, but the answer before is still to come, and must come first: so what is
        shown and made stable depends on the audio and not on how fast it came.
        """
        segment = self._segments[utterance.segment]
        if segment.pause_end is not None:
            due = segment.speculative is None and segment.asked_end != segment.pause_end
        else:
            due = self._partial_due(segment)
        if not due:
            return True
        if segment.answered < segment.revision:
            return False
        if segment.pause_end is None:
            self._ask(segment, Priority.PARTIAL, None)
        else:
            segment.speculative = self._ask(segment, Priority.FINAL, segment.pause_end)
        return True

    def _partial_due(self, segment: _Segment) -> bool:
        utterance = segment.utterance
        heard = utterance.end - (segment.asked_end or utterance.start)
        more_speech = utterance.speech_end > segment.asked_speech_end
        interval = self.options.partial_ms * self._stretch
        return self.options.interim and more_speech and heard * 1000 >= interval * SAMPLE_RATE

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
        segment = self._answered(job)
        if segment is None:
            return
        if segment.final is not None:
            if job.revision == segment.final:
                segment.result = hypothesis
                self._emit_finals()
            return
        if segment.newest is not None and job.revision <= segment.newest[0]:
            return
        if job.priority is Priority.PARTIAL:
            self._stretch = max(1, self._stretch // 2)
        segment.newest = (job.revision, hypothesis)
        segment.language = hypothesis.language
        paused = job.priority is Priority.FINAL
        if segment.stabilizer.update(hypothesis.text, whole=paused) and self.options.interim:
            self._emit_partial(segment, job)

    def receive_failure(self, job: RecognitionJob, error: SurtitleError) -> None:
        """Take a failure. A partial's is made good by what follows it."""
        segment = self._answered(job)
        if segment is None:
            return
        if segment.final is None:
            if isinstance(error, Overloaded):
                self._stretch = min(_MAX_STRETCH, 2 * self._stretch)
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
        # What was last heard is the best there is.
        heard = segment.newest[1].text if segment.newest else ""
        language = segment.language or self.options.language or self._language or ""
        segment.result = Hypothesis(text=heard, language=language, confidence=0.0)
        self._emit_finals()

    # ------------------------------------------------------------ inside

    def _answered(self, job: RecognitionJob) -> _Segment | None:
        """Note that a job was answered; its segment, if the answer is of use."""
        segment = self._segments.get(job.segment)
        if segment is None or segment.result is not None:
            return None
        segment.answered = max(segment.answered, job.revision)
        return segment

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
        following = self._segments.get(utterance.segment + 1)
        if following is not None and following.utterance.start == segment.end:
            # Cut while somebody spoke: what was stable may reach beyond the cut.
            following.stabilizer.skip(segment.stabilizer.surplus(hypothesis.text))
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
