"""What a session has heard and not yet listened to, in order, and the commands between.

Audio and commands wait here until the voice-activity results of all audio before them are in; and
audio waits while something has to be known that decides how it is cut: the final of the utterance
before, and whether a pause is the end of a sentence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from streaming.actions import Action, Detect
from streaming.captions import SHORTEST_ENDPOINT_MS, Captions
from streaming.checkpoint import Owed
from streaming.pcm import Windower
from streaming.segmenter import Segmenter, SegmenterEvent
from streaming.types import SAMPLE_RATE, WINDOW, Audio, Probabilities, Windows

C = TypeVar("C")


@dataclass(slots=True, eq=False)
class _Heard:
    windows: Windows
    probabilities: Probabilities | None = None
    done: int = 0
    """Windows that were listened to."""


@dataclass(slots=True, eq=False)
class _Recalled:
    """A final's audio that is collected once more, because its translation is made of it."""

    owed: Owed
    audio: list[Audio]


class Hearing(Generic[C]):
    """The way of audio from samples to utterances.

    ``carry_out`` is given a command when everything before it was listened to and has its final;
    ``retell`` the audio of what another process left off, or None if it did not come again.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        captions: Captions,
        actions: list[Action],
        *,
        carry_out: Callable[[C], None],
        retell: Callable[[Owed, Audio | None], None],
    ) -> None:
        self.segmenter = segmenter
        self.samples = segmenter.position
        """Samples of the client's audio received, at 16 kHz."""
        self._captions = captions
        self._actions = actions
        self._carry_out = carry_out
        self._retell = retell
        self.quiet: Callable[[Windows], int] | None = None
        """Tells how many windows, from the first on, need not be searched for speech: nobody speaks
        in them (:meth:`streaming.ports.VoiceStream.pass_over`).
        """
        self._windower = Windower()
        self._inbox: deque[_Heard | C] = deque()
        self._unanswered: deque[_Heard] = deque()
        """What of it has no voice activity yet."""
        self._waiting = 0
        """Windows in it that were not listened to."""
        self._recalled: list[_Recalled] = []

    @property
    def behind(self) -> float:
        """Seconds of audio that wait to be listened to."""
        return self._waiting * WINDOW / SAMPLE_RATE

    @property
    def at_rest(self) -> bool:
        """Whether all that was heard was listened to, and nobody speaks."""
        return not self._inbox and not self._recalled and self.segmenter.idle

    def go_on(self, segmenter: Segmenter, owed: list[Owed]) -> None:
        """Take up what another left off; it owes translations of audio that will come again."""
        self.segmenter = segmenter
        self.samples = segmenter.position
        self._recalled = [_Recalled(one, []) for one in owed]
        self._tell(segmenter.begun())

    def hear(self, samples: Audio) -> None:
        """Take audio, any number of samples."""
        self.samples += samples.size
        windows = self._windower.feed(samples)
        if self.quiet is not None and len(windows) and self._undisturbed:
            passed = self.quiet(windows)
            if passed and self.segmenter.pass_over(windows[:passed]):
                windows = windows[passed:]
        self._detect(windows)

    def command(self, command: C) -> None:
        """Have a command carried out after everything that was heard before it."""
        self._inbox.append(command)
        self.advance()

    def finish(self) -> None:
        """Take the last samples, fewer than a window."""
        self._detect(self._windower.flush())

    def receive(self, probabilities: Probabilities) -> None:
        """Take the voice activity of the oldest ``Detect`` not yet answered."""
        self._unanswered.popleft().probabilities = probabilities

    def advance(self) -> None:
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

    def close(self) -> None:
        """End the utterance under way, now."""
        self._tell(self.segmenter.close())

    def give_up(self) -> None:
        """No more audio will come."""
        for recalled in self._recalled:
            self._retell(recalled.owed, None)
        self._recalled.clear()

    # ------------------------------------------------------------ inside

    @property
    def _undisturbed(self) -> bool:
        """Whether nothing waits, nobody speaks, and quiet decides nothing."""
        rests = self.at_rest and not self._captions.backlog
        return rests and not self.segmenter.recalling

    def _detect(self, windows: Windows) -> None:
        if len(windows):
            heard = _Heard(windows)
            self._inbox.append(heard)
            self._unanswered.append(heard)
            self._waiting += len(windows)
            self._actions.append(Detect(windows))

    def _listen(self, heard: _Heard) -> bool:
        """Listen to windows, as far as is possible now; whether that was all of them."""
        if heard.probabilities is None:
            return False
        if (
            not (heard.done or self._captions.backlog or self._recalled)
        ) and self.segmenter.pass_over(heard.windows, float(heard.probabilities.max())):
            self._waiting -= len(heard.windows)
            return True
        while self.segmenter.recalling or self._decided():
            if heard.done == len(heard.windows):
                return True
            now = slice(heard.done, heard.done + 1)
            heard.done += 1
            self._waiting -= 1
            self._tell(self.segmenter.push(heard.windows[now], heard.probabilities[now]))
            if self._recalled:
                self._recall(heard.windows[now][0])
        return False

    def _decided(self) -> bool:
        """Whether all is known that decides what becomes of the next window."""
        if self._captions.backlog:
            return False
        utterance = self.segmenter.open
        if utterance is None:
            return True
        if not self._captions.on_progress(utterance):
            return False
        silence = self.segmenter.silence_ms
        if silence < SHORTEST_ENDPOINT_MS:
            return True
        endpoint = self._captions.endpoint_ms(utterance, self.segmenter.endpoint_ms)
        if endpoint is None:
            return False
        if silence >= endpoint:
            self._tell(self.segmenter.end_pause())
        return not self._captions.backlog

    def _tell(self, events: list[SegmenterEvent]) -> None:
        for event in events:
            self._captions.on_speech(event)

    def _recall(self, window: Audio) -> None:
        end = self.segmenter.position
        for recalled in list(self._recalled):
            if recalled.owed.start < end <= recalled.owed.end:
                recalled.audio.append(window)
            if end >= recalled.owed.end:
                self._recalled.remove(recalled)
                self._retell(recalled.owed, np.concatenate(recalled.audio))
