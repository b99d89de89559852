"""The native protocol's messages (DESIGN section 3), and nothing about what they cause.

Client messages are decoded strictly in type and leniently in extent: unknown fields are ignored,
a known field of the wrong type is an :class:`~streaming.errors.InvalidMessage` that names it.
Server events are plain structs; their ``seq`` is given when they are sent.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from streaming.errors import InvalidJson, InvalidMessage, SurtitleError, UnknownType
from streaming.types import Word

PROTOCOL_VERSION: Final = 1

Tag = Annotated[str, Meta(min_length=1, max_length=64)]
Targets = Annotated[list[Tag], Meta(max_length=32)]
Vocabulary = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(max_length=100)
]
EndpointMs = Annotated[int, Meta(ge=100, le=5000)]
Seconds = Annotated[float, Meta(description="Seconds of the client's own audio.")]
Segment = Annotated[int, Meta(ge=0, description="Numbers the segments of a session from 0.")]


# ---------------------------------------------------------------- client → server


class Resume(Struct):
    """Names a session whose connection was lost, and the last event that arrived from it."""

    token: Annotated[str, Meta(max_length=256)]
    received_seq: Annotated[int, Meta(ge=0)]


class Start(Struct, tag="start"):
    """Opens the session. Must come first."""

    encoding: Annotated[str, Meta(max_length=32)] = "pcm_s16le"
    sample_rate: int = 16_000
    channels: int = 1
    source: Tag = "auto"
    targets: Targets = []
    interim: bool = True
    word_timestamps: bool = False
    vocabulary: Vocabulary = []
    endpoint_ms: EndpointMs | None = None
    room: Annotated[str, Meta(max_length=128)] | None = None
    resume: Resume | None = None


class Configure(Struct, tag="configure"):
    """Changes a running session. Fields left out stay as they are."""

    targets: Targets | UnsetType = UNSET
    interim: bool | UnsetType = UNSET
    vocabulary: Vocabulary | UnsetType = UNSET
    endpoint_ms: EndpointMs | UnsetType = UNSET


class Finalize(Struct, tag="finalize"):
    """Ends the open utterance now. The marker is echoed after its final."""

    marker: Annotated[str, Meta(max_length=256)] | int | None = None


class Keepalive(Struct, tag="keepalive"):
    """Keeps a silent connection open, and may say which events need not be kept any more."""

    received_seq: Annotated[int, Meta(ge=0)] | None = None


class Stop(Struct, tag="stop"):
    """No more audio: everything said is finalised, then ``done``."""


ClientMessage = Start | Configure | Finalize | Keepalive | Stop

_CLIENT_TYPES: Final[dict[str, type[ClientMessage]]] = {
    "start": Start,
    "configure": Configure,
    "finalize": Finalize,
    "keepalive": Keepalive,
    "stop": Stop,
}


# ---------------------------------------------------------------- server → client


class Event(Struct, kw_only=True):
    """Base of all events. ``seq`` counts 1, 2, 3 … without a gap."""

    seq: Annotated[int, Meta(ge=1)] = 0


class Limits(Struct):
    """What this session may do."""

    max_message_bytes: int
    max_segment_seconds: float
    idle_timeout_seconds: float
    resume_seconds: float = 0.0
    """How long the session outlives its connection; 0: not at all."""


class ReadyEvent(Event, tag="ready", kw_only=True):
    """Answers ``start``. The last four are there when a session goes on.

    It then has the ``seq`` of the last event received: it is none of the session's own.
    """

    session: str
    resume_token: str | None
    limits: Limits
    model: str
    resumed: bool | UnsetType = UNSET
    audio_received: Seconds | UnsetType = UNSET
    """How much of the audio the server has; what follows it is to be sent (again)."""
    audio_received_bytes: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    """The same in bytes of all audio sent for this session, from its beginning."""
    segment: Segment | UnsetType = UNSET
    """Segments below this one that have no final get none: their audio is heard again."""


class SpeechStartedEvent(Event, tag="speech_started", kw_only=True):
    at: Seconds


class SpeechEndedEvent(Event, tag="speech_ended", kw_only=True):
    at: Seconds


class PartialEvent(Event, tag="partial", kw_only=True):
    """The open segment's caption so far: ``stable + unstable``."""

    segment: Segment
    start: Seconds
    end: Seconds
    language: str
    stable: str
    unstable: str


class WordTiming(Struct):
    text: str
    start: Seconds
    end: Seconds
    probability: float


class FinalEvent(Event, tag="final", kw_only=True):
    """A segment's text, sent once."""

    segment: Segment
    start: Seconds
    end: Seconds
    language: str
    text: str
    confidence: Annotated[float, Meta(ge=0, le=1)]
    words: list[WordTiming] | UnsetType = UNSET


class TranslationEvent(Event, tag="translation", kw_only=True):
    """A segment's text in one target. While ``final`` is false it may still change."""

    segment: Segment
    target: str
    text: str
    final: bool
    stable: str | UnsetType = UNSET
    unstable: str | UnsetType = UNSET


class MarkerEvent(Event, tag="marker", kw_only=True):
    marker: str | int | None


class WarningEvent(Event, tag="warning", kw_only=True):
    """Something is not as asked, and the session goes on."""

    code: str
    message: str
    details: dict[str, Any] = {}


class ErrorEvent(Event, tag="error", kw_only=True):
    code: str
    message: str
    retryable: bool
    retry_after: float | None
    fatal: bool
    details: dict[str, Any] = {}

    @classmethod
    def of(
        cls, error: SurtitleError, *, fatal: bool | None = None, **details: object
    ) -> ErrorEvent:
        """The event that tells of an error. ``fatal`` and ``details`` add to what it says."""
        return cls(
            code=error.code,
            message=error.message,
            retryable=error.retryable,
            retry_after=error.retry_after,
            fatal=error.fatal if fatal is None else fatal,
            details={**error.details, **details},
        )


class Usage(Struct):
    audio_seconds: float
    characters: int
    """Characters of source text that were translated, once for each target."""


class DoneEvent(Event, tag="done", kw_only=True):
    audio_seconds: float
    segments: int
    usage: Usage


ServerEvent = (
    ReadyEvent
    | SpeechStartedEvent
    | SpeechEndedEvent
    | PartialEvent
    | FinalEvent
    | TranslationEvent
    | MarkerEvent
    | WarningEvent
    | ErrorEvent
    | DoneEvent
)


# ---------------------------------------------------------------- coding


class _Head(Struct):
    type: str | UnsetType = UNSET


_head = msgspec.json.Decoder(_Head)
_decoders: Final = {name: msgspec.json.Decoder(struct) for name, struct in _CLIENT_TYPES.items()}
_encoder: Final = msgspec.json.Encoder()


def decode(data: str | bytes) -> ClientMessage:
    """Read one text frame.

    Raises ``InvalidJson``, ``UnknownType`` or ``InvalidMessage``.
    """
    try:
        head = _head.decode(data)
    except msgspec.ValidationError as error:
        raise InvalidMessage(f"a message is a JSON object with a string `type`: {error}") from error
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidJson(f"this text frame is not JSON: {error}") from error
    if head.type is UNSET:
        raise InvalidMessage("a message needs a `type`")
    decoder = _decoders.get(head.type)
    if decoder is None:
        known = ", ".join(_CLIENT_TYPES)
        raise UnknownType(f"unknown type {head.type[:64]!r}; known are {known}")
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise InvalidMessage(f"{head.type}: {error}") from error


def encode(event: Event) -> bytes:
    """One event as a UTF-8 text frame."""
    return _encoder.encode(event)


def word_timings(words: tuple[Word, ...], offset: float) -> list[WordTiming]:
    """Words of one segment on the stream's own clock."""
    return [
        WordTiming(
            text=word.text.strip(),
            start=round(offset + word.start, 3),
            end=round(offset + word.end, 3),
            probability=round(word.probability, 3),
        )
        for word in words
    ]


def schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of every message, by direction."""
    directions = {"client": ClientMessage, "server": ServerEvent}
    refs, components = msgspec.json.schema_components(
        list(directions.values()), ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Surtitle native protocol",
        "version": PROTOCOL_VERSION,
        "properties": dict(zip(directions, refs, strict=True)),
        "$defs": components,
    }
