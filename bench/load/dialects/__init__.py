"""How to speak to each server, without I/O: messages out as values, messages in one by one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, Protocol

from bench.load.dialects.surtitle import SurtitleDialect
from bench.load.dialects.whisperlive import WhisperLiveDialect
from bench.load.dialects.whisperlivekit import WhisperLiveKitDialect
from bench.load.transcript import Transcript

Message = str | bytes
Encoding = Literal["s16", "f32"]


class Dialect(Protocol):
    """One connection's protocol. It keeps what the connection has shown in ``transcript``."""

    transcript: Transcript
    ready: bool
    """Whether audio may be sent."""
    refused: str | None
    """Why the server doesn't want this client, if it said so after the handshake."""
    over: bool
    """Whether everything has come."""

    @property
    def encoding(self) -> Encoding:
        """What a sample is in a frame."""

    @property
    def closes(self) -> bool:
        """Whether the server says by closing that everything has come."""

    @property
    def tail(self) -> tuple[float, float]:
        """Seconds of quiet sent after the last word: until no text has changed for the first, but
        no longer than the second. Some servers finish a text only when more audio comes.
        """

    def opening(self) -> list[Message]:
        """What to send first."""

    def closing(self) -> list[Message]:
        """What to send when all has been said."""

    def receive(self, time: float, message: Message) -> None:
        """A message came, at a time in seconds of the stream."""


DIALECTS: Mapping[str, type[Dialect]] = MappingProxyType(
    {
        "surtitle": SurtitleDialect,
        "whisperlive": WhisperLiveDialect,
        "whisperlivekit": WhisperLiveKitDialect,
    }
)
