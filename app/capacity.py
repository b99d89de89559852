"""Whether one more speaker can be taken: capacity in real-time streams, measured while running.

What can't be left out is finals. The recogniser says how much of its workers' time they take
(``strain``) and how long they wait; from the strain and the number of those who speak follows what
one speaker costs here. Whoever connects counts as a fraction of a speaker for a few seconds, since
most who connect listen first: a thousand silent sessions cost nothing, and a rush of speakers is
stopped before the strain has risen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from app.sessions import SessionRegistry
from streaming.errors import Overloaded
from streaming.types import Pressure

_FULL: Final = 0.9
"""Strain beyond which no more are taken."""
_LATE: Final = 1.5
"""Seconds that finals wait when no more are taken, whatever the strain."""
_SPEAKER: Final = 0.05
"""Strain of a speaker on one worker, before any was measured: a quarter of a second of work for
every five seconds of speech."""
_NEW_SECONDS: Final = 3.0
_NEW_PART: Final = 0.1
"""For how long a new session counts, and for how much of a speaker."""
_RETRY_SECONDS: Final = 5.0
_QUEUE_SECONDS: Final = 4.0
_QUEUE_SHARE: Final = 4
"""From which share on a key may wait for a place, and for how long."""
_STEP: Final = 0.25


def has_room(pressure: Pressure, new: int) -> bool:
    """Whether one more speaker can be taken, with so many sessions that have only begun."""
    each = prior = _SPEAKER / pressure.workers
    if pressure.speakers:
        each = max(prior, pressure.strain / pressure.speakers)
    expected = pressure.strain + each * (1 + _NEW_PART * new)
    return pressure.wait < _LATE and expected <= _FULL


class Capacity:
    """Decides on newcomers, of whom ``sessions`` has those that were taken."""

    def __init__(self, pressure: Callable[[], Pressure], sessions: SessionRegistry) -> None:
        self._pressure = pressure
        self._sessions = sessions
        self.refused = 0
        """Newcomers there was no room for."""

    @property
    def room(self) -> bool:
        """Whether one more would be taken now."""
        return has_room(self._pressure(), self._sessions.begun_within(_NEW_SECONDS))

    async def admit(self, share: int) -> None:
        """Return when there is room. Raises ``Overloaded``.

        Keys with a large share wait a few seconds for it; the others are told to come back.
        """
        patience = _QUEUE_SECONDS if share >= _QUEUE_SHARE else 0.0
        while not self.room:
            if patience <= 0:
                self.refused += 1
                raise Overloaded(
                    "All places for speakers are taken at the moment.", retry_after=_RETRY_SECONDS
                )
            patience -= _STEP
            await asyncio.sleep(_STEP)
