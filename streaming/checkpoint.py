"""What has to be known of a session for another process to go on with it.

A process that dies takes its audio along, and the client still has it. So a checkpoint holds no
audio, but the place in the client's own audio up to which everything is final: from there it is
sent again, and what was open is heard anew. Positions are samples at 16 kHz from the beginning of
the client's audio, and multiples of a window.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct, field

from streaming.types import SAMPLE_RATE, WINDOW

WARM_UP: Final = 32 * WINDOW
"""Audio (1 s) before a place that is sent again, too: a voice detector has a memory."""


class Rest(Struct, frozen=True):
    """What is known of the speech of an utterance that was cut, for the one that goes on with it.

    ``energy`` is the sum of ``windows`` windows with speech; ``skip`` are words at its beginning
    that were shown before the cut.
    """

    speech_end: int
    energy: float
    windows: int
    skip: list[str] = []


class Place(Struct, frozen=True):
    """Where listening goes on: what is before ``floor`` is over.

    What lies between ``floor`` and ``heard`` was listened to already: it is the beginning of the
    next utterance's audio, or of what an utterance was cut from, of which ``rest`` tells.
    """

    floor: int = 0
    heard: int = 0
    rest: Rest | None = None


class Owed(Struct):
    """A final whose translations are not all there. ``targets`` holds what was promised of each.

    Its audio is ``start`` to ``end``.
    """

    segment: int
    language: str
    text: str
    start: int
    end: int
    targets: dict[str, str] = field(default_factory=dict)


class Background(Struct, frozen=True):
    """The context of what is said next: language, text, and where it ended."""

    language: str | None = None
    text: str = ""
    end: int = 0


class Checkpoint(Struct):
    """A session after its last event. What the client asked for is as it is now.

    ``segment`` is one above every segment that may have been shown.
    """

    session: str
    encoding: str
    sample_rate: int
    channels: int
    language: str | None
    targets: list[str]
    interim: bool
    words: bool
    vocabulary: list[str]
    endpoint_ms: int
    place: Place
    segment: int
    finals: int
    characters: int
    background: Background
    owed: list[Owed] = []
    warned: list[tuple[str, str]] = []

    @property
    def position(self) -> int:
        """Where the client's audio is needed from."""
        needed = min([self.place.floor, *(owed.start for owed in self.owed)])
        return max(0, needed - WARM_UP)

    @property
    def frame(self) -> int:
        """The same, in frames of the client's own audio."""
        return round(self.position * self.sample_rate / SAMPLE_RATE)
