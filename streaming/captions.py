"""The captions of one session: from utterances to partials and finals.

While an utterance is open its audio is recognised again and again, and the hypotheses are
stabilised into partials. When it pauses its final is begun, before anyone knows that it is one.
Finals come out in the order in which they were spoken, one for each utterance.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from streaming import wire
from streaming.actions import Action, Emit, Recognize
from streaming.checkpoint import Checkpoint
from streaming.context import Context
from streaming.errors import Overloaded, Superseded, SurtitleError
from streaming.pacing import Pace
from streaming.segmenter import Closed, Opened, Paused, Resumed, SegmenterEvent
from streaming.segments import Answer, Segment
from streaming.stabilizer import units
from streaming.translations import Translations
from streaming.types import SAMPLE_RATE, Hypothesis, Priority, RecognitionJob, Word, seconds
from streaming.utterance import Utterance

_ATTEMPTS: Final = 4
"""How often a final is asked for until it is told that it could not be recognised."""
_UNANSWERED: Final = 2
"""Partials of an utterance that may be asked for and not answered before listening stops. With
more, the text shown would lag further and further behind."""
_OVERTAKEN: Final = 0.5
_GIVEN_UP: Final = 2.0
"""Seconds that a partial has waited, about, for which there was no time."""
PARTIAL_MS: Final = 384
_FULL_PACE: Final = 6 * SAMPLE_RATE
"""Samples of an utterance up to which it is recognised again as often as asked for."""

SHORTEST_ENDPOINT_MS: Final = 512
"""Silence that ends an utterance which surely ends a sentence."""
_UNSURE_ENDING: Final = 0.75
_SURE_ENDING: Final = 0.9
"""Below the first a pause is taken to be inside a sentence, from the second on to be its end. Of
base's full stops at the ends of recordings half are above 0.9, of those at pauses inside
sentences one in twenty."""


def endpoint_ms(ending: float, most: int) -> int:
    """Silence after which an utterance is over whose text ends a sentence so surely (0…1)."""
    least = min(SHORTEST_ENDPOINT_MS, most)
    doubt = (_SURE_ENDING - ending) / (_SURE_ENDING - _UNSURE_ENDING)
    return round(least + (most - least) * min(1.0, max(0.0, doubt)))


@dataclass(slots=True, kw_only=True)
class CaptionOptions:
    """What the client asked for. Changed while running by ``configure``."""

    language: str | None = None
    """The language spoken, if the client said so."""
    vocabulary: tuple[str, ...] = ()
    interim: bool = True
    words: bool = False


def _as_shown(words: tuple[Word, ...], text: str) -> tuple[Word, ...]:
    """Timed words, written as they are in a final, which keeps how stable words were shown."""
    shown = units(text)
    if len(shown) != len(words):
        return words
    return tuple(replace(word, text=unit) for word, unit in zip(words, shown, strict=True))


class Captions:
    """Plans the recognition of a session and takes its results."""

    def __init__(
        self,
        session: str,
        tenant: str,
        weight: float,
        translations: Translations,
        actions: list[Action],
    ) -> None:
        self.options = CaptionOptions()
        self.finals = 0
        """Finals emitted."""
        self._session = session
        self._tenant = tenant
        self._weight = weight
        self._translations = translations
        self._actions = actions
        self._segments: dict[int, Segment] = {}
        self.context = Context()
        self._skip: list[str] = []
        """Words that the utterance which opens next leaves out."""
        self.pace = Pace(PARTIAL_MS)
        self.lag = 0.0
        """Seconds by which a live speaker's sound is listened to late now."""
        self._held_up = False
        """Whether sound had to wait because partials were not answered."""
        self.catching_up = False
        """Whether there is no time for partials."""
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
    def oldest(self) -> Segment | None:
        """The first utterance without a final."""
        return next(iter(self._segments.values()), None)

    def recall(self, checkpoint: Checkpoint) -> None:
        """Go on where another left off."""
        self.options = CaptionOptions(
            language=checkpoint.language,
            vocabulary=tuple(checkpoint.vocabulary),
            interim=checkpoint.interim,
            words=checkpoint.words,
        )
        self.finals = checkpoint.finals
        self.context.recall(checkpoint.background)
        rest = checkpoint.place.rest
        if rest is not None:
            self._cut, self._skip = True, rest.skip

    def drop(self) -> None:
        """Forget everything unfinished."""
        self._segments.clear()

    # ------------------------------------------------------------ from the segmenter

    def on_speech(self, event: SegmenterEvent) -> None:
        """Follow the segmenter."""
        match event:
            case Opened(utterance=utterance):
                segment = self._segments[utterance.segment] = Segment(utterance)
                segment.skip(self._skip)
                self._skip = []
                if not self._cut:
                    self._emit(wire.SpeechStartedEvent(at=seconds(utterance.onset)))
            case Paused(utterance=utterance, end=end):
                self._segments[utterance.segment].pause_end = end
            case Resumed(utterance=utterance):
                self._segments[utterance.segment].speech_goes_on()
            case Closed(utterance=utterance, end=end, cut=cut):
                self._cut = cut
                if not cut:
                    self._emit(wire.SpeechEndedEvent(at=seconds(utterance.speech_end)))
                self._close(self._segments[utterance.segment], end)

    def on_progress(self, utterance: Utterance) -> bool:
        """Have the open utterance recognised again, if it is time.

        False: it is time, but too many answers are still to come.
        """
        segment = self._segments[utterance.segment]
        if segment.pause_end is not None:
            if segment.speculative is None and segment.asked_end != segment.pause_end:
                segment.speculative = self._ask(segment, Priority.FINAL, segment.pause_end)
        elif self._partial_due(segment):
            if segment.unanswered >= _UNANSWERED:
                self._held_up = True
                return False
            self._ask(segment, Priority.PARTIAL, None)
        return True

    def _partial_due(self, segment: Segment) -> bool:
        utterance = segment.utterance
        if not self.options.interim or self.catching_up:
            return False
        if utterance.speech_end <= segment.asked_speech_end:
            return False
        new = utterance.end - (segment.asked_end or utterance.start)
        # The longer an utterance, the longer a decode of it takes, and the less news is in one.
        length = max(1.0, (utterance.end - utterance.start) / _FULL_PACE)
        return new * 1000 >= self.pace.interval_ms * length * SAMPLE_RATE

    def endpoint_ms(self, utterance: Utterance, most: int) -> int | None:
        """Silence that ends a paused utterance, at most ``most``. None: not known yet."""
        segment = self._segments[utterance.segment]
        if segment.speculative is None:
            return most
        if segment.speculated is None:
            return None
        return endpoint_ms(segment.speculated.ending, most)

    def mark(self, marker: str | int | None) -> None:
        """Echo a marker after the finals of everything said before it."""
        if self._segments:
            self._segments[max(self._segments)].markers.append(marker)
        else:
            self._emit(wire.MarkerEvent(marker=marker))

    # ------------------------------------------------------------ from the recogniser

    def receive(self, job: RecognitionJob, answer: Answer) -> None:
        """Take what was recognised for a job, or why it was not."""
        segment = self._segments.get(job.segment)
        if segment is None or segment.result is not None:
            return
        if isinstance(answer, SurtitleError) and job.revision == segment.speculative:
            segment.speculative = None
        for ready, result in segment.take(job, answer):
            if isinstance(result, SurtitleError):
                self._go_without(segment, ready, result)
            else:
                self._apply(segment, ready, result)

    # ------------------------------------------------------------ inside

    def _apply(self, segment: Segment, job: RecognitionJob, heard: Hypothesis) -> None:
        segment.newest = (job.revision, heard)
        if job.revision == segment.final:
            segment.result = heard
            self._emit_finals()
            return
        if job.priority is Priority.PARTIAL:
            self._keep_pace(heard.timing.queued)
        segment.language = heard.language
        paused = job.priority is Priority.FINAL
        if segment.stabilizer.update(heard.text, whole=paused) and self.options.interim:
            self._emit_partial(segment, job)

    def _go_without(self, segment: Segment, job: RecognitionJob, error: SurtitleError) -> None:
        """Make do without an answer. A partial's lack is made good by what follows it."""
        if job.priority is Priority.PARTIAL and isinstance(error, (Superseded, Overloaded)):
            self._keep_pace(_OVERTAKEN if isinstance(error, Superseded) else _GIVEN_UP)
        if job.revision != segment.final:
            return
        if error.retryable and segment.attempts < _ATTEMPTS:
            segment.attempts += 1
            segment.final = self._ask(segment, Priority.FINAL, segment.end)
            return
        self._emit(wire.ErrorEvent.of(error, fatal=False, segment=job.segment))
        # What was last heard is the best there is.
        text = segment.newest[1].text if segment.newest else ""
        language = segment.language or self.options.language or self.context.language or ""
        segment.result = Hypothesis(text=text, language=language, confidence=0.0)
        self._emit_finals()

    def _keep_pace(self, waited: float) -> None:
        lag, self._held_up = self.lag if self._held_up else 0.0, False
        if not self.pace.take(waited, lag):
            return
        interval = round(self.pace.interval_ms)
        waited = max(self.pace.wait, self.pace.late)
        message = (
            f"the server is busy: captions are brought up to date about every {interval} ms"
            if self.pace.degraded
            else "captions are brought up to date as usual again"
        )
        self._emit(
            wire.WarningEvent(
                code="degraded" if self.pace.degraded else "recovered",
                message=message,
                details={
                    "partial_ms": interval,
                    "waited_seconds": round(waited, 2),
                },
            )
        )

    def _emit(self, event: wire.Event) -> None:
        self._actions.append(Emit(event))

    def _ask(self, segment: Segment, priority: Priority, end: int | None) -> int:
        """Have a segment's audio recognised up to a sample, or all of it; return the revision."""
        utterance, options = segment.utterance, self.options
        audio = utterance.audio(end)
        segment.asked += 1
        segment.asked_end = utterance.start + audio.size
        segment.asked_speech_end = utterance.speech_end
        job = RecognitionJob(
            session=self._session,
            segment=utterance.segment,
            revision=segment.asked,
            audio=audio,
            priority=priority,
            language=options.language,
            language_hint=self.context.language if options.language is None else None,
            prompt=self.context.before(utterance.start),
            vocabulary=options.vocabulary,
            words=options.words and priority is Priority.FINAL,
            tenant=self._tenant,
            weight=self._weight,
        )
        self._actions.append(Recognize(job))
        return segment.asked

    def _close(self, segment: Segment, end: int) -> None:
        segment.end = end
        if segment.speculative is None:
            segment.final = self._ask(segment, Priority.FINAL, end)
        else:
            segment.final = segment.speculative
            if segment.final <= segment.applied:
                segment.result = segment.speculated
        self._emit_finals()

    def _emit_partial(self, segment: Segment, job: RecognitionJob) -> None:
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

    def _emit_final(self, segment: Segment, hypothesis: Hypothesis) -> None:
        utterance = segment.utterance
        text = segment.stabilizer.finish(hypothesis.text)
        following = self._segments.get(utterance.segment + 1)
        if following is not None and following.utterance.start == segment.end:
            # Cut while somebody spoke: what was stable may reach beyond the cut.
            following.skip(segment.stabilizer.surplus(hypothesis.text))
        if not text and not segment.shown:
            # Noise that sounded like speech: nothing was shown, so nothing is to be finished.
            return
        if hypothesis.text:
            self.context.take(hypothesis, text, utterance.speech_end)
        event = wire.FinalEvent(
            segment=utterance.segment,
            start=seconds(utterance.onset),
            end=seconds(utterance.speech_end),
            language=hypothesis.language,
            text=text,
            confidence=round(hypothesis.confidence, 3),
        )
        if self.options.words:
            words = _as_shown(hypothesis.words or (), text)
            event.words = wire.word_timings(words, utterance.start / SAMPLE_RATE)
        self._emit(event)
        self.finals += 1
        audio = utterance.audio(segment.end)
        self._translations.final(
            utterance.segment, hypothesis.language, text, audio, utterance.start
        )
