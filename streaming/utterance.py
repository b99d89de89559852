"""An utterance as it grows: its audio, where it stands in the stream, and how loud it is."""

from __future__ import annotations

import numpy as np

from streaming.checkpoint import Rest
from streaming.types import SAMPLE_RATE, WINDOW, Audio, Windows


class Utterance:
    """A stretch of speech: its audio, and where it stands in the stream (in samples)."""

    __slots__ = (
        "_audio",
        "_energy",
        "_loud",
        "_samples",
        "cut_from",
        "onset",
        "segment",
        "speech_end",
        "start",
    )

    def __init__(self, segment: int, start: int, onset: int) -> None:
        self.segment = segment
        self.start = start
        """First sample of its audio, pre-roll included."""
        self.onset = onset
        """First sample of speech."""
        self.speech_end = onset
        """End of the last speech heard."""
        self.cut_from: tuple[int, Rest] | None = None
        """Of one that goes on after a cut: how far had been listened then, and what was known."""
        self._audio: Audio = np.empty(4 * SAMPLE_RATE, dtype=np.float32)
        self._energy: list[float] = []
        self._loud = (0.0, 0)
        """The sum of the energies of windows with speech, and how many there are."""
        self._samples = 0

    @property
    def level(self) -> float:
        """Mean energy of a window with speech."""
        total, count = self._loud
        return total / count if count else 0.0

    @property
    def energy(self) -> float:
        """Energy of the newest window, around its mean: a steady offset is no sound."""
        return self._energy[-1]

    def note_speech(self) -> None:
        """The newest window has speech."""
        self.speech_end = self.end
        total, count = self._loud
        self._loud = (total + self.energy, count + 1)

    def continue_from(self, heard: int, rest: Rest) -> None:
        """Take over what is known of the speech of an utterance that was cut.

        ``heard`` is how far had been listened.
        """
        self.cut_from = heard, rest
        self.speech_end = rest.speech_end
        self._loud = rest.energy, rest.windows

    @property
    def known(self) -> Rest:
        """What is known of its speech, for an utterance that goes on with it."""
        energy, windows = self._loud
        return Rest(self.speech_end, energy, windows)

    @property
    def end(self) -> int:
        """End of the audio heard so far."""
        return self.start + self._samples

    def audio(self, end: int | None = None) -> Audio:
        """The audio up to a sample of the stream, or all. A view: it is never written to again."""
        stop = self._samples if end is None else min(end - self.start, self._samples)
        return self._audio[:stop]

    def append(self, window: Audio) -> None:
        needed = self._samples + WINDOW
        if needed > self._audio.size:
            # Views handed out keep the old block alive; it is never written to again.
            grown = np.empty(2 * self._audio.size, dtype=np.float32)
            grown[: self._samples] = self._audio[: self._samples]
            self._audio = grown
        self._audio[self._samples : needed] = window
        offset = float(window.sum())
        self._energy.append(max(0.0, float(np.dot(window, window)) - offset * offset / WINDOW))
        self._samples = needed

    def quietest(self, search: int) -> tuple[int, float]:
        """The window's edge in the last ``search`` samples around which it is quietest, and the
        mean energy of the windows around it.
        """
        width = 5
        first = max(width, len(self._energy) - search // WINDOW)
        energy = np.convolve(self._energy, np.ones(width), mode="valid")
        # energy[i] covers windows i … i+4; cut in the middle of the quietest five.
        candidates = energy[first - width // 2 : len(energy)]
        best = int(np.argmin(candidates))
        return self.start + (first + best) * WINDOW, float(candidates[best]) / width

    def windows_after(self, sample: int) -> Windows:
        """A copy of what was heard from a sample on, which must be a window's edge."""
        return self._audio[sample - self.start : self._samples].reshape(-1, WINDOW).copy()
