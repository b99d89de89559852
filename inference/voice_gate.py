"""What a voice stream remembers, and which windows need no model.

Pure: most streams are idle, and what is no louder than what was no speech before is answered here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from streaming.types import WINDOW, Probabilities, Windows

CONTEXT: Final = 64
"""Samples before a window that the model is given with it."""

STATE: Final = 128
"""Numbers in each of the two layers of the model's state."""
_UNLIKELY: Final = 0.1
"""The energy gate is for streams whose last probability was below this."""
_ABOVE_FLOOR: Final = 1.6
"""How much louder than its background (in amplitude: 4 dB) a window is that the gate lets pass."""
_UNHEARD: Final = 7
"""Windows in a row that the gate may hold back: one in eight is listened to in any case, so that
speech hardly louder than its background is found a quarter of a second later, within the audio
that is kept from before an onset."""
_AT_FLOOR: Final = 1.2
"""How much louder than its background a window is that adds nothing to it: speech would have to be
4 dB below the noise."""
_UNHEARD_AT_FLOOR: Final = 15
"""As :data:`_UNHEARD`, for those: a steady hum is listened to twice a second."""
_FAINT: Final = 10 ** (-58 / 20)
"""The RMS (−58 dBFS) of a background that drowns only speech below −62 dBFS."""
_STEADY: Final = 150
"""Windows at the background's level, five seconds, after which it is believed to be one: speech
that the model did not know for speech may have been taken for background, too."""
_UNHEARD_IF_FAINT: Final = 63
"""As :data:`_UNHEARD_AT_FLOOR`, for a background that is both: a quiet room is listened to every
two seconds."""
_LONG: Final = 64
"""Windows, two seconds, of a request that is part of a file, and not of a live stream."""
_FALL, _RISE = 0.5, 0.05
"""How fast the idea of the background follows quieter windows, and louder ones."""
_ONES: Final = np.ones(WINDOW, dtype=np.float32)

State = NDArray[np.float32]
"""The model's, shape ``(2, 128)``. Never written to."""
UNUSED: Final[State] = np.zeros((2, STATE), dtype=np.float32)
"""That of a model that has heard nothing."""


def levels_of(windows: Windows) -> list[float]:
    """The RMS of each window around its mean: a steady offset, as of cheap sound cards, is none."""
    squares: list[float] = np.vecdot(windows, windows).tolist()
    sums: list[float] = np.vecdot(windows, _ONES).tolist()
    # Of a few numbers Python is quicker than numpy: this is done for each frame of each stream.
    return [
        math.sqrt(max(square - total * total / WINDOW, 0.0) / WINDOW)
        for square, total in zip(squares, sums, strict=True)
    ]


@dataclass(slots=True, eq=False)
class Memory:
    """What a stream carries from window to window. Only one thread at a time touches it.

    ``after_silence`` are the states of the model after 1, 2, 3 … windows of silence from the start.
    The last of them is taken for its state after any silence as long: one that has heard nothing
    takes quiet speech for noise. ``gate`` is the level (RMS) below which all is silence; with none
    above 0 nothing is passed over.
    """

    after_silence: Sequence[State]
    gate: float
    state: State = field(default_factory=lambda: UNUSED)
    context: NDArray[np.float32] = field(default_factory=lambda: np.zeros(CONTEXT, np.float32))
    last: float = 0.0
    floor: float = field(init=False)
    """RMS of its background. It begins as silence, and comes up to the first sound by and by: that
    may be speech, which takes a moment to be known as such."""
    steady: int = 0
    """Windows that were hardly louder than it, until now."""
    unheard: int = 0
    """Windows since the model listened last."""
    silent: int = 0
    """Windows of silence until now."""
    fresh: bool = True
    """Whether the model has not listened yet."""

    def __post_init__(self) -> None:
        self.floor = self.gate

    def learn(self, level: float) -> None:
        """Take the level of a window in which nobody speaks."""
        self.steady = self.steady + 1 if level < _AT_FLOOR * self.floor else 0
        rate = _RISE if level > self.floor else _FALL
        self.floor += rate * (max(level, self.gate) - self.floor)

    def pass_over(self, windows: Windows, levels: Sequence[float], done: int = 0) -> int:
        """Answer 0 for as many windows, from the first one not ``done``, as need no model.

        Returns how many are then done.
        """
        if self.last >= _UNLIKELY or self.gate <= 0:
            return done
        first = done
        for level in islice(levels, first, None):
            if level < self.gate:
                self.silent += 1
            elif self._is_background(level):
                self.silent = 0
            else:
                break
            self.unheard += 1
            self.learn(level)
            done += 1
        if done > first:
            self.last = 0.0
            self.context = windows[done - 1, -CONTEXT:].copy()
            self._settle()
        return done

    def _settle(self) -> None:
        """Have the model's state be what silence would have made it."""
        states = self.after_silence
        if states and self.silent and (self.fresh or self.silent >= len(states)):
            self.state = states[min(self.silent, len(states)) - 1]

    def _is_background(self, level: float) -> bool:
        if level >= _ABOVE_FLOOR * self.floor:
            return False
        if self.unheard < _UNHEARD:
            return True
        if level >= _AT_FLOOR * self.floor:
            return False
        known = self.steady >= _STEADY and self.floor < _FAINT
        return self.unheard < (_UNHEARD_IF_FAINT if known else _UNHEARD_AT_FLOOR)


@dataclass(slots=True, eq=False)
class Request:
    """Windows of one stream that wait or are worked on, the first ``done`` of them answered."""

    memory: Memory
    windows: Windows
    levels: list[float]
    future: asyncio.Future[Probabilities]
    probabilities: Probabilities
    """Zeros, until another is known."""
    done: int = 0
    retried: bool = False
    """Whether a thread was lost with it before."""

    @property
    def urgent(self) -> bool:
        """Whether the next window may be speech that somebody waits for.

        If not it sounds like the background, and is listened to for safety's sake: nobody loses
        by it if that is a few milliseconds later, with those of other streams. In a file that
        would add up.
        """
        memory = self.memory
        return (
            len(self.windows) - self.done > _LONG
            or memory.last >= _UNLIKELY
            or self.levels[self.done] >= _ABOVE_FLOOR * memory.floor
        )

    def skip_quiet(self) -> bool:
        """Answer windows the gate lets be answered without the model. True if none are left."""
        self.done = self.memory.pass_over(self.windows, self.levels, self.done)
        return self.done == len(self.windows)

    def take(self, probability: float) -> None:
        """Answer the next window with what the model found."""
        memory = self.memory
        self.probabilities[self.done] = probability
        memory.unheard = memory.silent = 0
        memory.fresh = False
        memory.last = probability
        memory.context = self.windows[self.done, -CONTEXT:].copy()
        if probability < _UNLIKELY:
            memory.learn(self.levels[self.done])
        else:
            memory.steady = 0
        self.done += 1
