"""The audio of a stream that may have to be sent again. Pure: knows no socket and no clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LEAD_IN: Final = 0.5
"""Seconds before the onset that a voice detector reports, so that first words are whole."""
IDLE: Final = 2.0
"""Seconds of mere silence that a new session is sent."""
KEPT: Final = 120.0
"""Seconds of audio that are kept; a server never asks for older."""


class Replay:
    """Audio by its place in the recording, in bytes from its beginning.

    ``origin`` is where the session's own audio begins, ``rate`` in bytes a second.
    """

    def __init__(self, rate: int, frame: int = 2) -> None:
        self.origin = 0
        self.lost = 0
        """Bytes that were given up before they could be sent."""
        self._rate = rate
        self._frame = frame
        self._data = bytearray()
        self._start = 0
        self._sent = 0
        self._open: float | None = None
        """Where in the session's audio something begins that no final covers yet; seconds."""
        self._speaking = False

    @property
    def end(self) -> int:
        return self._start + len(self._data)

    def add(self, data: bytes) -> None:
        """Take what was recorded."""
        self._data += data
        surplus = len(self._data) - self._bytes(KEPT)
        if surplus > 0:
            self.lost += max(0, self._start + surplus - max(self._sent, self._start))
            del self._data[:surplus]
            self._start += surplus

    def take(self, most: int) -> bytes:
        """The next bytes to send, perhaps none."""
        self._sent = max(self._sent, self._start)
        at = self._sent - self._start
        data = bytes(self._data[at : at + most])
        self._sent += len(data)
        return data

    def go_on(self, received: int) -> bool:
        """Send on from a byte of the session's audio; False when it is not kept any more."""
        place = self.origin + received
        if not self._start <= place <= self.end:
            return False
        self._sent = place
        return True

    def begin_anew(self) -> None:
        """A new session: it hears again what no final has covered."""
        place = self.end - self._bytes(IDLE)
        if self._open is not None:
            place = self.origin + self._bytes(self._open)
        # What was never sent is sent in any case.
        self._sent = self.origin = max(self._start, min(place, self._sent))
        self._open, self._speaking = None, False

    def heard(self, event: Mapping[str, Any]) -> None:
        """Follow the session's events."""
        match event["type"]:
            case "speech_started":
                self._speaking = True
                if self._open is None:
                    self._open = max(0.0, event["at"] - LEAD_IN)
            case "speech_ended":
                self._speaking = False
            case "final":
                self._open = event["end"] if self._speaking else None
            case "done":
                # All of the session's audio is final, whatever else was sent.
                self._open = event["audio_seconds"]

    def _bytes(self, seconds: float) -> int:
        return int(seconds * self._rate) // self._frame * self._frame
