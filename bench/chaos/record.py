"""What a speaker saw of a stream that was interrupted, or not."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Heard:
    """A final as it arrived. ``start`` and ``end`` are seconds of the speaker's audio; ``at`` is
    seconds since it began to speak.
    """

    start: float
    end: float
    text: str
    at: float

    @property
    def late(self) -> float:
        """Seconds from the end of what was said until it was final."""
        return self.at - self.end


@dataclass(slots=True)
class Interruption:
    """From when a connection was lost until the session went on, in monotonic seconds."""

    why: str
    lost: float
    back: float | None = None
    """None: it did not go on."""

    @property
    def seconds(self) -> float:
        return float("inf") if self.back is None else self.back - self.lost


@dataclass(frozen=True, slots=True)
class Failure:
    """An error that the client was told, fatal or not, in monotonic seconds."""

    code: str
    at: float


@dataclass(slots=True)
class Record:
    """Everything of one stream, however many connections and sessions it took."""

    finals: list[Heard] = field(default_factory=list)
    translations: Counter[str] = field(default_factory=Counter)
    """Final translations, by target."""
    interruptions: list[Interruption] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    """Attempts to connect that failed, by HTTP status or kind of failure."""
    warnings: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    anew: int = 0
    """Sessions that could not be resumed, so that another was begun."""
    broken_promises: list[str] = field(default_factory=list)
    """What the protocol rules out: events out of order, audio asked for that was finalised."""
    done: bool = False
    """Whether the server has said that everything is final."""
    began: float | None = None
    """When it began to speak, in monotonic seconds."""

    @property
    def text(self) -> str:
        return " ".join(final.text.strip() for final in self.finals)

    @property
    def errors(self) -> Counter[str]:
        """What the client was told, by code."""
        return Counter(failure.code for failure in self.failures)

    @property
    def recovery(self) -> float:
        """Seconds of the longest interruption; infinite for one that did not end."""
        return max((one.seconds for one in self.interruptions), default=0.0)

    @property
    def latest(self) -> float:
        """Seconds from an utterance's end to its final, at most."""
        return max((final.late for final in self.finals), default=0.0)
