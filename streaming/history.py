"""The events that a client was sent, until they need not be sent again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_KEPT: Final = 4_096
MAX_AGE: Final = 150.0
"""Seconds an event is kept: a client that does not answer is given up before that."""

Entry = tuple[int, bytes]
"""An event as it is sent, and its number."""


class History:
    """Encoded events by number, without a gap.

    Dropped are those that the client has acknowledged, and the oldest of too many. ``last`` is the
    number of the event before the first that will be added; ``kept`` are events up to it.
    """

    def __init__(self, *, last: int = 0, kept: Iterable[Entry] = ()) -> None:
        self._events = [(data, 0.0) for _, data in kept]
        self._first = last - len(self._events) + 1

    @property
    def first(self) -> int:
        """The number of the oldest event that is kept."""
        return self._first

    @property
    def last(self) -> int:
        """The number of the newest event."""
        return self._first + len(self._events) - 1

    def add(self, data: bytes, now: float) -> Entry:
        """Keep the next event. ``now`` is in seconds and never runs backwards."""
        self._events.append((data, now))
        if len(self._events) > MAX_KEPT or self._events[0][1] < now - MAX_AGE:
            # Several at once, so that it costs little.
            old = sum(at < now - MAX_AGE for _, at in self._events)
            self._drop(max(old, len(self._events) - MAX_KEPT * 3 // 4))
        return self.last, data

    def acknowledge(self, seq: int) -> None:
        """Drop the events up to this number."""
        self._drop(min(seq, self.last) - self._first + 1)

    def follows(self, seq: int) -> bool:
        """Whether all events after this number are kept, and it was given to one."""
        return self._first - 1 <= seq <= self.last

    def after(self, seq: int) -> list[Entry]:
        """The events after this number."""
        start = max(0, seq - self._first + 1)
        return [
            (self._first + number, data)
            for number, (data, _) in enumerate(self._events[start:], start)
        ]

    def _drop(self, count: int) -> None:
        if count > 0:
            del self._events[:count]
            self._first += count
