"""What a run does, and what came of it: what goes into the clients' process, and out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.load.dialects import Encoding
from bench.load.schedule import Script
from bench.load.transcript import Transcript
from bench.replay import FRAME
from streaming.types import SAMPLE_RATE

SECONDS: Final = FRAME / SAMPLE_RATE
"""Length of a frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Sessions that are connected and say nothing."""

    count: int
    ramp: float
    """Seconds in which they connect."""
    settle: float
    """Seconds between the ramp and the first speaker."""
    every: float
    """Seconds between two messages of one of them."""
    message: bytes | str
    """What each sends: a frame of quiet, or a keepalive."""
    tenants: int = 1
    """How many of the run's keys they share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run does."""

    server: str
    url: str
    health: str | None
    """Asked now and then, to see how soon the server answers; None: it can't be."""
    headers: Sequence[Mapping[str, str]]
    """Of each tenant."""
    frames: Mapping[Encoding, Sequence[Sequence[bytes]]]
    """The frames of each utterance of the pool, with the pause behind it."""
    quiet: Mapping[Encoding, Sequence[bytes]]
    """Frames nobody speaks in, to be sent again and again."""
    scripts: Sequence[Script]
    idle: Idle | None = None


@dataclass(slots=True, kw_only=True)
class StreamLog:
    """What came of one script. ``began`` is on the wall clock, all else in the stream's seconds."""

    script: Script
    began: float | None = None
    """When its audio began; None: it never did."""
    ended: float = 0.0
    transcript: Transcript = field(default_factory=Transcript)
    refused: str | None = None
    retry_after: float | None = None
    broken: str | None = None
    """Why the connection ended before everything had come."""
    late: float = 0.0
    """How many seconds too late its latest frame was sent: the server had it wait."""


@dataclass(slots=True, kw_only=True)
class RunLog:
    """What came of a plan. Times are on the wall clock."""

    began: float
    speaking: float
    """When the first speaker was due."""
    ended: float
    streams: list[StreamLog]
    idle_connected: int = 0
    idle_lost: int = 0
    own_delays: list[float]
    """How late this process itself was, in seconds, again and again."""
    answers: list[float]
    """How long the server took to answer a request for its health, again and again."""
