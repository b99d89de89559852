"""What a client saw of one stream, whatever server it spoke to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.metrics import Shown, common_prefix


@dataclass(slots=True)
class Transcript:
    """What was shown, and what of it was final. Times are in seconds of the stream.

    ``finals`` has only text that is not to change any more; servers differ in what they call it:
    see their dialects. A text counts when it changes: one that is sent again is not in here.
    """

    shown: list[Shown] = field(default_factory=list)
    finals: list[Shown] = field(default_factory=list)
    notices: Counter[str] = field(default_factory=Counter)
    """Warnings and errors, by kind and code."""
    _last: dict[int, tuple[str, str]] = field(default_factory=dict)
    _final: dict[int, str] = field(default_factory=dict)

    def show(self, time: float, segment: int, stable: str, unstable: str) -> None:
        """A segment's caption is ``stable + unstable`` now."""
        if self._last.get(segment, ("", "")) != (stable, unstable):
            self._last[segment] = stable, unstable
            self.shown.append(Shown(time, segment, stable, unstable))

    def finish(self, time: float, segment: int, text: str, *, whole: bool) -> None:
        """Text of a segment is final: all of it if ``whole``, else more may come behind it."""
        if whole and self._last.get(segment) != (text, ""):
            self._last[segment] = text, ""
            self.shown.append(Shown(time, segment, text, "", final=True))
        if self._final.get(segment, "") != text:
            self._final[segment] = text
            self.finals.append(Shown(time, segment, text, "", final=whole))

    @property
    def changed(self) -> float:
        """When a text changed last."""
        return max((line[-1].time for line in (self.shown, self.finals) if line), default=0.0)

    @property
    def text(self) -> str:
        """All final text, in the order of the segments."""
        return " ".join(text.strip() for _, text in sorted(self._final.items()) if text.strip())


@dataclass(frozen=True, slots=True)
class Run:
    """Words that became final together, and stayed."""

    time: float
    words: str


def settled(finals: Sequence[Shown]) -> list[Run]:
    """The final text in the order of the segments, by when it came.

    A word that was changed after all came when it was changed.
    """
    words: dict[int, list[tuple[str, float]]] = {}
    for shown in finals:
        before = words.get(shown.segment, [])
        after = shown.text.split()
        kept = common_prefix([word for word, _ in before], after)
        words[shown.segment] = [*before[:kept], *((word, shown.time) for word in after[kept:])]
    runs: list[tuple[int, float, list[str]]] = []
    for segment in sorted(words):
        for word, time in words[segment]:
            if runs and runs[-1][:2] == (segment, time):
                runs[-1][2].append(word)
            else:
                runs.append((segment, time, [word]))
    return [Run(time, " ".join(run)) for _, time, run in runs]
