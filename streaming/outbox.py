"""Events on their way to one client: numbered when sent, coalesced while they wait.

A reader that falls behind is spared what has been overtaken: of a segment's partials only the
newest waits, and none once its final does. Finals, markers and errors always stay.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from streaming.errors import SlowReader
from streaming.wire import Event, FinalEvent, PartialEvent, TranslationEvent

MAX_WAITING: Final = 2_000
"""Events that may wait for a reader that does not read, several hours of finals."""


class Outbox:
    """A queue of events for one client, of which ``sent`` were sent before."""

    def __init__(self, limit: int = MAX_WAITING, *, sent: int = 0) -> None:
        self._limit = limit
        self._waiting: dict[Hashable, Event] = {}
        self._order = 0
        self._sent = sent
        self.coalesced = 0
        """Events that were overtaken before they could be sent."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def lasting(self) -> bool:
        """Whether one waits that no later one may take the place of."""
        return any(isinstance(key, int) for key in self._waiting)

    def clear(self) -> None:
        """Forget what waits."""
        self._waiting.clear()

    def put(self, event: Event) -> None:
        """Add an event. Raises ``SlowReader`` when too many wait."""
        key = _revisable(event)
        if key is not None and key in self._waiting:
            self.coalesced += 1
            del self._waiting[key]
        overtaken = _overtakes(event)
        if overtaken is not None and self._waiting.pop(overtaken, None) is not None:
            self.coalesced += 1
        if len(self._waiting) >= self._limit:
            raise SlowReader(f"{self._limit} events wait and none is read")
        if key is None:
            self._order += 1
            key = self._order
        self._waiting[key] = event

    def take(self) -> Event | None:
        """The next event, numbered, or None."""
        if not self._waiting:
            return None
        event = self._waiting.pop(next(iter(self._waiting)))
        self._sent += 1
        event.seq = self._sent
        return event


def passing(event: Event) -> bool:
    """Whether a later event may take the place of this one."""
    return _revisable(event) is not None


def _revisable(event: Event) -> Hashable | None:
    """What an event is the latest word on, if a later one may take its place."""
    match event:
        case PartialEvent(segment=segment):
            return ("partial", segment)
        case TranslationEvent(segment=segment, target=target, final=False):
            return ("translation", segment, target)
        case _:
            return None


def _overtakes(event: Event) -> Hashable | None:
    match event:
        case FinalEvent(segment=segment):
            return ("partial", segment)
        case TranslationEvent(segment=segment, target=target, final=True):
            return ("translation", segment, target)
        case _:
            return None
