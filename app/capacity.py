"""Whether one more speaker can be taken: capacity in real-time streams, measured while running.

What can't be left out is finals. The recogniser says how much of its workers' time they take
(``strain``) and how long they wait; from the strain and the number of those who speak follows what
one speaker costs here. Those who speak already and had no final yet count in full; whoever has only
connected counts as a fraction of a speaker for a few seconds, since most who connect listen first:
a thousand silent sessions cost nothing, and a rush of speakers is stopped before the strain has
risen.

Some of the places are kept for users who have fewer streams than others: nobody takes them all.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Final

from app.sessions import SessionRegistry
from streaming.errors import Overloaded
from streaming.types import Pressure

_FULL: Final = 0.35
"""Strain beyond which no more are taken, with few workers: finals come in at random, and more would
wait too long for each other and for the partials that have begun."""
_SPARE: Final = 0.9
"""Of how many workers' square root that much has to be free: many are waited for less than few, and
with so much one final in four has to wait (Halfin, Whitt 1981)."""
_KEPT: Final = 0.5
"""Which part of what is then left is for users with fewer streams than others."""
_LATE: Final = 1.5
"""Seconds that finals wait when no more are taken, whatever the strain."""
_BETWEEN: Final = 4.0
"""Seconds of speech for each final that is asked for: they are of utterances of some six seconds,
and every second one is asked for twice, because the speaker goes on after a pause."""
_NEW_SECONDS: Final = 3.0
_NEW_PART: Final = 0.05
"""For how long a new session counts, and for how much of a speaker."""
_RETRY_SECONDS: Final = 5.0
_QUEUE_SECONDS: Final = 4.0
_QUEUE_SHARE: Final = 4
"""From which share on a key may wait for a place, and for how long."""
_STEP: Final = 0.25


def has_room(pressure: Pressure, new: int, *, live: float = math.inf, modest: bool = False) -> bool:
    """Whether one more speaker can be taken, with so many sessions that have only begun.

    ``live`` are all that are there: who has gone takes nothing any more. ``modest`` says that the
    speaker is of a user who has fewer streams than others.
    """
    full = max(_FULL, 1 - _SPARE / math.sqrt(pressure.workers))
    if modest:
        full += _KEPT * (1 - full)
    each = prior = pressure.final_seconds / _BETWEEN / pressure.workers
    if pressure.speakers:
        each = max(prior, pressure.strain / pressure.speakers)
    strain = pressure.strain
    if pressure.speakers > live:
        strain *= live / pressure.speakers
    expected = strain + each * (1 + pressure.starting + _NEW_PART * new)
    return pressure.wait < _LATE and expected <= full


class Capacity:
    """Decides on newcomers, of whom ``sessions`` has those that were taken."""

    def __init__(self, pressure: Callable[[], Pressure], sessions: SessionRegistry) -> None:
        self._pressure = pressure
        self._sessions = sessions
        self.refused = 0
        """Newcomers there was no room for."""

    @property
    def room(self) -> bool:
        """Whether one more would be taken now, of whomever."""
        return self._room(modest=False)

    def _room(self, *, modest: bool) -> bool:
        new = self._sessions.begun_within(_NEW_SECONDS)
        return has_room(self._pressure(), new, live=len(self._sessions), modest=modest)

    def _modest(self, user_id: str) -> bool:
        streams = Counter(session.principal.user_id for session in self._sessions)
        streams[user_id] += 1
        return streams[user_id] * len(streams) < streams.total()

    async def admit(self, user_id: str, share: int) -> None:
        """Return when there is room for a stream of a user. Raises ``Overloaded``.

        Keys with a large share wait a few seconds for it; the others are told to come back.
        """
        patience = _QUEUE_SECONDS if share >= _QUEUE_SHARE else 0.0
        while not self._room(modest=self._modest(user_id)):
            if patience <= 0:
                self.refused += 1
                raise Overloaded(
                    "All places for speakers are taken at the moment.", retry_after=_RETRY_SECONDS
                )
            patience -= _STEP
            await asyncio.sleep(_STEP)
