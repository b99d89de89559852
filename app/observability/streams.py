"""What a stream's viewers see, timed: from the sound that came to the text that was sent.

The core speaks of places in the client's audio; here it is noted when each place came in, so that
an event's place gives the moment that it speaks of. Only live speech is timed: who sends a file
faster than it was spoken waits for all that was sent before, and that is nobody's delay.
"""

from __future__ import annotations

import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from app.observability.metrics import Metrics
from streaming.types import SAMPLE_RATE, WINDOW
from streaming.wire import (
    ErrorEvent,
    Event,
    FinalEvent,
    PartialEvent,
    SpeechEndedEvent,
    SpeechStartedEvent,
    TranslationEvent,
    WarningEvent,
)

K = TypeVar("K", int, float)

_REMEMBERED: Final = 120.0
"""Seconds of audio of which it is known when they came: more than an utterance can wait."""
_LOOK_BACK: Final = 2.0
_LIVE_PART: Final = 0.75
_HICCUP: Final = 0.5
"""Speech is live when the seconds before its end took at least this part of them to come in, less
a hiccup of the network."""
_COUNTED: Final = SAMPLE_RATE
"""Samples that are counted at a time: a counter for each frame would cost a twentieth of it."""
_AWAITED: Final = 64
"""Utterances whose texts are waited for, and finals whose translations are."""


class Arrivals:
    """When each place in a stream's audio came in. Places and times are in seconds."""

    def __init__(self) -> None:
        # Arrays, because a thousand streams that say nothing have them, too.
        self._places = array("d")
        self._times = array("d")

    def note(self, now: float, place: float) -> None:
        """Take that all audio up to a place has come by now."""
        if self._places and place < self._places[-1] + WINDOW / SAMPLE_RATE:
            return
        middle = len(self._places) // 2
        if middle and self._places[middle] < place - _REMEMBERED:
            del self._places[:middle], self._times[:middle]
        self._places.append(place)
        self._times.append(now)

    def when(self, place: float) -> float | None:
        """When a place came, to within a window; None when that is not known any more.

        What is not noted yet has only just come: the newest time.
        """
        if not self._places or place < self._places[0] - _LOOK_BACK:
            return None
        index = bisect_left(self._places, place)
        return self._times[min(index, len(self._times) - 1)]

    def live(self, place: float) -> bool:
        """Whether the audio before a place came as fast as it was spoken, and no faster."""
        start = max(0.0, place - _LOOK_BACK)
        began, ended = self.when(start), self.when(place)
        if began is None or ended is None:
            return False
        return ended - began >= _LIVE_PART * (place - start) - _HICCUP


@dataclass(frozen=True, slots=True, kw_only=True)
class UtteranceTimes:
    """When an utterance came and went, on a monotonic clock, in seconds."""

    segment: int
    began: float
    """Its first speech came in."""
    ended: float
    """Its last speech came in."""
    sure: float | None
    """It was sure that it had ended; None when it was cut while somebody spoke."""
    sent: float
    """Its final was sent."""


class StreamObservation:
    """Counts and times one stream (:class:`streaming.listeners.Observer`). Event loop only.

    ``heard`` is how many samples a resumed session has had before: they were counted then.
    ``told`` is given the times of each utterance. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        metrics: Metrics,
        *,
        heard: int = 0,
        told: Callable[[UtteranceTimes], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._told = told
        self._clock = clock
        self._arrivals = Arrivals()
        self._samples = self._counted = heard
        self._bytes = 0
        """Received and not yet counted."""
        self._begun: dict[float, float] = {}
        """Where utterances began that do not go on with one that was cut, and when they did."""
        self._ended: dict[float, float] = {}
        """Where utterances ended, and when that was sure."""
        self._shown = -1
        """The newest segment of which anything was sent."""
        self._finals: dict[int, float] = {}
        """When the last finals were sent."""
        self._audio = metrics.audio.labels("stream")
        self.outcome = "disconnected"
        """``done``, or the code of what ended it; until then as if the client had gone."""

    # ------------------------------------------------------------ from the driver

    def heard(self, samples: int, size: int) -> None:
        self._bytes += size
        if samples != self._samples:
            self._arrivals.note(self._clock(), samples / SAMPLE_RATE)
            self._samples = samples
            if samples - self._counted >= _COUNTED:
                self._count()

    def sent(self, event: Event, size: int) -> None:
        metrics, now = self._metrics, self._clock()
        metrics.stream_sent.inc(size)
        metrics.events.labels(_kind(event)).inc()
        match event:
            case PartialEvent(segment=segment, start=start):
                self._show(segment, start, now)
            case FinalEvent():
                self._show(event.segment, event.start, now)
                self._finish(event, now)
            case TranslationEvent(segment=segment, final=True):
                final = self._finals.get(segment)
                if final is not None:
                    metrics.translation_lag.observe(max(0.0, now - final))
            case SpeechStartedEvent(at=at):
                _remember(self._begun, at, now)
            case SpeechEndedEvent(at=at):
                _remember(self._ended, at, now)
            case WarningEvent(code=code):
                metrics.warnings.labels(code).inc()
            case ErrorEvent(code=code):
                metrics.errors.labels("stream", code).inc()

    def closed(self, code: int, reason: str) -> None:
        self.outcome = reason or ("done" if code == 1000 else str(code))  # noqa: PLR2004 - RFC 6455

    # ------------------------------------------------------------ from the endpoint

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the stream for as long as the block lasts."""
        self._metrics.sessions_started.inc()
        try:
            yield
        finally:
            self._count()
            self._metrics.sessions_ended.labels(self.outcome).inc()

    # ------------------------------------------------------------ inside

    def _count(self) -> None:
        self._metrics.stream_received.inc(self._bytes)
        self._audio.inc((self._samples - self._counted) / SAMPLE_RATE)
        self._bytes, self._counted = 0, self._samples

    def _show(self, segment: int, start: float, now: float) -> None:
        if segment <= self._shown:
            return
        self._shown = segment
        came = self._arrivals.when(start)
        known = self._begun.pop(start, None) is not None
        if known and came is not None and self._arrivals.live(start):
            self._metrics.first_text.observe(now - came)

    def _finish(self, final: FinalEvent, now: float) -> None:
        _remember(self._finals, final.segment, now)
        began, ended = self._arrivals.when(final.start), self._arrivals.when(final.end)
        if began is None or ended is None:
            return
        sure = self._ended.pop(final.end, None)
        if sure is not None and self._arrivals.live(final.end):
            self._metrics.endpoint_wait.observe(max(0.0, sure - ended))
            self._metrics.final_lag.observe(now - ended)
        if self._told is not None:
            self._told(
                UtteranceTimes(segment=final.segment, began=began, ended=ended, sure=sure, sent=now)
            )


def _remember(moments: dict[K, float], key: K, now: float) -> None:
    """Note a moment, and forget the oldest of too many."""
    moments[key] = now
    if len(moments) > _AWAITED:
        del moments[next(iter(moments))]


def _kind(event: Event) -> str:
    return str(event.__struct_config__.tag)
