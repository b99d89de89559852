"""Finds utterances in a stream of windows and their speech probabilities.

A window at or above ``threshold`` may begin an utterance; once begun, anything at or above the
lower ``release`` continues it (hysteresis, as in Silero's own iterator). An utterance is closed by
``endpoint`` of silence, by a command, or, when it grows too long, by a cut at its quietest place.

Time is counted in windows; the audio of an utterance depends on the windows alone.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from streaming.checkpoint import Place
from streaming.types import SAMPLE_RATE, WINDOW, Audio, Probabilities, Windows
from streaming.utterance import Utterance

WINDOW_MS: Final = 1000 * WINDOW // SAMPLE_RATE


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterConfig:
    """How utterances are found. Durations are in milliseconds of audio."""

    threshold: float = 0.5
    """Speech probability that begins an utterance."""
    release: float = 0.35
    """Speech probability that continues one."""
    gate_db: float = 20.0
    """What is so much quieter than the utterance's speech so far does not continue it, whatever
    its probability: a detector takes the first noise after speech for speech."""
    min_speech_ms: int = 96
    """Less speech than this is a click or a cough."""
    pre_roll_ms: int = 320
    """Audio kept from before the onset: first consonants are soft."""
    tail_ms: int = 192
    """Audio kept from after the last speech. Also when a pause is reported: from here on the
    utterance's audio is what it will be if nobody speaks again."""
    endpoint_ms: int = 800
    """Silence that closes an utterance at the latest."""
    long_ms: int = 14_000
    """Length from which an utterance is cut where the speaker makes a pause."""
    max_ms: int = 20_000
    """Length at which it is cut at its quietest place, pause or not."""
    cut_search_ms: int = 7_000
    """How far back the place is looked for."""


@dataclass(frozen=True, slots=True)
class Opened:
    """Someone began to speak."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Paused:
    """Silence has lasted ``tail_ms``. ``utterance.audio(end)`` is final unless speech goes on."""

    utterance: Utterance
    end: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """Speech goes on after a pause."""

    utterance: Utterance


@dataclass(frozen=True, slots=True)
class Closed:
    """The utterance is over; its audio is ``utterance.audio(end)``.

    ``cut`` says that the speaker has not stopped: the next utterance begins where this one ends.
    """

    utterance: Utterance
    end: int
    cut: bool


SegmenterEvent = Opened | Paused | Resumed | Closed


class _Before:
    """The last windows before speech, as they came: most of them are never looked at."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._blocks: deque[Windows] = deque()
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, self._size)

    def append(self, windows: Windows) -> None:
        """Take windows, shape ``(n, 512)``; the oldest are forgotten."""
        if len(windows) > self._size:
            windows = windows[-self._size :].copy()  # a view would keep all of them
        self._blocks.append(windows)
        self._count += len(windows)
        while self._count - len(self._blocks[0]) >= self._size:
            self._count -= len(self._blocks.popleft())

    def last(self, count: int) -> Windows:
        """The newest ``count`` windows, at most :func:`len`."""
        if not count:
            return np.empty((0, WINDOW), dtype=np.float32)
        return np.concatenate(self._blocks)[-count:]

    def clear(self) -> None:
        self._blocks.clear()
        self._count = 0


class Segmenter:
    """The utterances of one stream. Segments are numbered from 0.

    One that goes on where another left off is given ``position``, the first sample it will get,
    the ``place`` of the other, and the number of its first segment.
    """

    def __init__(
        self,
        config: SegmenterConfig | None = None,
        *,
        position: int = 0,
        place: Place | None = None,
        segment: int = 0,
    ) -> None:
        self._config = config or SegmenterConfig()
        self._endpoint = self._windows(self._config.endpoint_ms)
        self._position = position
        self._floor = place.floor if place else 0
        """Audio before this belongs to an earlier utterance."""
        self._heard = place.heard if place else 0
        """Audio before this was listened to once already."""
        self._next_segment = segment
        self._before = _Before(self._windows(self._config.pre_roll_ms))
        self._candidate: list[tuple[Audio, bool]] = []
        self._open: Utterance | None = None
        self._paused = False
        self._events: list[SegmenterEvent] = []
        if place is not None and place.rest is not None:
            self._open = self._number(place.floor, place.floor)
            self._open.continue_from(place.heard, place.rest)
            self._events.append(Opened(self._open))

    @property
    def position(self) -> int:
        """The sample up to which windows were taken."""
        return self._position

    @property
    def next_segment(self) -> int:
        """The number that the next utterance gets."""
        return self._next_segment

    @property
    def recalling(self) -> bool:
        """Whether the next window was listened to once already, and decides nothing."""
        return self._position < self._heard

    @property
    def idle(self) -> bool:
        """Whether nobody speaks, nor seems to begin."""
        return self._open is None and not self._candidate

    @property
    def silence(self) -> float:
        """Samples since the last utterance ended; infinitely many before the first."""
        return self._position - self._floor if self._floor else math.inf

    def place(self, oldest: Utterance | None) -> Place:
        """Where another goes on so that it finds the utterances from ``oldest`` on again.

        None: those that are still to come.
        """
        if oldest is not None:
            if oldest.cut_from is None:
                return Place(oldest.start, oldest.onset)
            heard, rest = oldest.cut_from
            return Place(oldest.start, heard, rest)
        heard = max(self._heard, self._position - len(self._candidate) * WINDOW)
        before = self._windows(self._config.pre_roll_ms) * WINDOW
        return Place(max(self._floor, heard - before), heard)

    @property
    def open(self) -> Utterance | None:
        """The utterance under way, if any."""
        return self._open

    @property
    def silence_ms(self) -> int:
        """Silence since the last speech of the utterance under way; 0 if there is none."""
        if self._open is None:
            return 0
        return (self._open.end - self._open.speech_end) // WINDOW * WINDOW_MS

    @property
    def endpoint_ms(self) -> int:
        """The silence that closes an utterance at the latest, in whole windows."""
        return self._endpoint * WINDOW_MS

    def set_endpoint(self, milliseconds: int) -> None:
        """Change the silence that closes an utterance, from now on."""
        self._endpoint = self._windows(milliseconds)

    def push(self, windows: Windows, probabilities: Probabilities) -> list[SegmenterEvent]:
        """Take consecutive windows, shape ``(n, 512)``, and what was found in them, in order."""
        for window, probability in zip(windows, probabilities.tolist(), strict=True):
            self._position += WINDOW
            if self._position <= self._heard:
                self._recall(window)
            elif self._open is not None:
                self._continue(self._open, window, probability)
            else:
                self._listen(window, probability)
        return self._drain()

    def pass_over(self, windows: Windows, likeliest: float = 0.0) -> bool:
        """Take windows in which nobody speaks, if nobody has begun to; whether that is so.

        The same as :meth:`push`, for what most sound is. ``likeliest`` is the highest of their
        probabilities.
        """
        if not self.idle or self.recalling or likeliest >= self._config.threshold:
            return False
        self._position += windows.size
        self._before.append(windows)
        return True

    def end_pause(self) -> list[SegmenterEvent]:
        """End the utterance under way, which has paused, without waiting for the endpoint."""
        if self._open is not None and self._paused:
            self._finish(self._open, self._tail_end(self._open))
        return self._drain()

    def begun(self) -> list[SegmenterEvent]:
        """What there is to tell of a segmenter that goes on in the middle of an utterance."""
        return self._drain()

    def close(self) -> list[SegmenterEvent]:
        """End the utterance under way, now.

        What was still too short to be one counts if two windows of it were speech: the client
        says there is no more to wait for.
        """
        if self._open is None and sum(hit for _, hit in self._candidate) > 1:
            self._begin()
        if self._open is not None:
            self._finish(self._open, min(self._open.end, self._tail_end(self._open)))
        return self._drain()

    # ------------------------------------------------------------ inside

    @staticmethod
    def _windows(milliseconds: int) -> int:
        return max(1, -(-milliseconds // WINDOW_MS))

    @property
    def _tail(self) -> int:
        return min(self._windows(self._config.tail_ms), self._endpoint) * WINDOW

    def _tail_end(self, utterance: Utterance) -> int:
        return utterance.speech_end + self._tail

    def _drain(self) -> list[SegmenterEvent]:
        events, self._events = self._events, []
        return events

    def _number(self, start: int, onset: int) -> Utterance:
        utterance = Utterance(self._next_segment, start, onset)
        self._next_segment += 1
        return utterance

    def _recall(self, window: Audio) -> None:
        """Take a window that another has listened to before."""
        if self._position <= self._floor:
            return
        if self._open is not None:
            self._open.append(window)
        else:
            self._before.append(window[np.newaxis])

    def _listen(self, window: Audio, probability: float) -> None:
        hit = probability >= self._config.threshold
        if not self._candidate and not hit:
            self._before.append(window[np.newaxis])
            return
        self._candidate.append((window, hit))
        if sum(hit for _, hit in self._candidate) * WINDOW_MS >= self._config.min_speech_ms:
            self._begin()
            return
        # A click: let it fall into the pre-roll and go on listening.
        quiet = 3
        if not any(hit for _, hit in self._candidate[-quiet:]):
            self._before.append(np.stack([window for window, _ in self._candidate]))
            self._candidate.clear()

    def _begin(self) -> None:
        onset = self._position - len(self._candidate) * WINDOW
        kept = min(len(self._before), max(0, onset - self._floor) // WINDOW)
        utterance = self._number(onset - kept * WINDOW, onset)
        for window in self._before.last(kept):
            utterance.append(window)
        for window, hit in self._candidate:
            utterance.append(window)
            if hit:
                utterance.note_speech()
        self._candidate.clear()
        self._before.clear()
        self._open = utterance
        self._paused = False
        self._events.append(Opened(utterance))

    def _continue(self, utterance: Utterance, window: Audio, probability: float) -> None:
        utterance.append(window)
        if probability >= self._config.release and utterance.energy >= self._gate(utterance):
            utterance.note_speech()
            if self._paused:
                self._paused = False
                self._events.append(Resumed(utterance))
            self._keep_short(utterance)
            return
        silence = utterance.end - utterance.speech_end
        if not self._paused and silence >= self._tail:
            self._paused = True
            self._events.append(Paused(utterance, self._tail_end(utterance)))
        if silence >= self._endpoint * WINDOW:
            self._finish(utterance, self._tail_end(utterance))

    def _gate(self, utterance: Utterance) -> float:
        return utterance.level * math.pow(10.0, -self._config.gate_db / 10)

    def _finish(self, utterance: Utterance, end: int) -> None:
        self._open = None
        self._floor = end
        # Silence that the utterance did not take is the next one's pre-roll.
        self._before.append(utterance.windows_after(end))
        self._events.append(Closed(utterance, end, cut=False))

    def _keep_short(self, utterance: Utterance) -> None:
        milliseconds = (utterance.end - utterance.start) * 1000 // SAMPLE_RATE
        if milliseconds < min(self._config.long_ms, self._config.max_ms):
            return
        at, energy = utterance.quietest(self._config.cut_search_ms * SAMPLE_RATE // 1000)
        if energy < self._gate(utterance) or milliseconds >= self._config.max_ms:
            self._cut(utterance, at)

    def _cut(self, utterance: Utterance, at: int) -> None:
        rest = self._number(at, at)
        for window in utterance.windows_after(at):
            rest.append(window)
        rest.continue_from(self._position, utterance.known)
        utterance.speech_end = at
        self._floor = at
        self._open = rest
        self._events += [Closed(utterance, at, cut=True), Opened(rest)]
