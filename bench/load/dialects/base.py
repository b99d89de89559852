"""What every dialect is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from bench.load.transcript import Transcript

Message = str | bytes
Encoding = Literal["s16", "f32"]


class Dialect(ABC):
    """The protocol of one connection, without I/O."""

    encoding: ClassVar[Encoding] = "s16"
    """What a sample is in a frame."""
    closes: ClassVar[bool] = False
    """Whether the server says by closing that everything has come."""
    tail: ClassVar[tuple[float, float]]
    """Seconds of quiet sent after the last word: until no text has changed for the first, but
    no longer than the second. Some servers finish a text only when more audio comes.
    """

    def __init__(self) -> None:
        self.transcript = Transcript()
        """What the connection has shown so far."""
        self.ready = False
        """Whether audio may be sent."""
        self.refused: str | None = None
        """Why the server doesn't want this client, if it said so after the handshake."""
        self.over = False
        """Whether everything has come."""

    def opening(self) -> list[Message]:
        """What to send first."""
        return []

    @abstractmethod
    def closing(self) -> list[Message]:
        """What to send when all has been said."""

    @abstractmethod
    def receive(self, time: float, message: Message) -> None:
        """A message came, at a time in seconds of the stream."""
