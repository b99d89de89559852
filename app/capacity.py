"""Whether one more speaker can be taken: capacity in real-time streams, measured while running.

What can't be left out is finals. The recogniser says how much of its workers' time they take
(``strain``) and how long they wait; from the strain and the number of those who speak follows what
one speaker costs here. Those who speak already and had no final yet count in full; whoever has only
connected counts as a fraction of a speaker for a few seconds, since most who connect listen first:
a thousand silent sessions cost nothing, and a rush of speakers is stopped before the strain has
risen.

A thousand sessions that send the sound of quiet rooms cost the event loop a good part of a
processor, and on a slow one more than there is. So nobody is taken while it does not keep up.

Some of the places are kept for users who have fewer streams than others: nobody takes them all.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from app.sessions import SessionRegistry
from streaming.errors import Overloaded
from streaming.types import Pressure

_WAIT: Final = 0.05
"""Seconds that finals may be expected to wait for each other, on average. Chosen, not measured:
two cores hold twelve speakers, whose finals take about a quarter of the workers' time, and these
wait for partials, too, that have begun."""
_LEAST: Final = 0.4
"""Strain within which all are taken: on slow machines the waiting is the least of the delay."""
_KEPT: Final = 0.5
"""Which part of what is then left is for users with fewer streams than others."""
_LATE: Final = 1.5
"""Seconds that finals wait when no more are taken, whatever the strain."""
_LOOP_LATE: Final = 0.1
"""Seconds by which the event loop is late, usually, when no more are taken: then it has more to do
than it can, and what is said waits for it."""
_BETWEEN: Final = 4.0
"""Seconds of speech for each final that is asked for: they are of utterances of some six seconds,
and every second one is asked for twice, because the speaker goes on after a pause."""
_HALVINGS: Final = 16
_NEW_SECONDS: Final = 3.0
_NEW_PART: Final = 0.01
"""For how long a new session counts, and for how much of a speaker."""
_RETRY_SECONDS: Final = 5.0
_QUEUE_SECONDS: Final = 4.0
_QUEUE_SHARE: Final = 4
"""From which share on a key may wait for a place, and for how long."""
_STEP: Final = 0.25


def has_room(
    pressure: Pressure,
    new: int,
    *,
    live: float = math.inf,
    modest: bool = False,
    full: float | None = None,
) -> bool:
    """Whether one more speaker can be taken, with so many sessions that have only begun.

    ``live`` are all that are there: who has gone takes nothing any more. ``modest`` says that the
    speaker is of a user who has fewer streams than others. ``full`` is the strain beyond which no
    more are taken, by default that of :func:`limit_of`.
    """
    if full is None:
        full = limit_of(pressure)
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


def limit_of(pressure: Pressure) -> float:
    """The strain beyond which no more are taken, where no setting says so."""
    return _limit(pressure.workers, pressure.final_seconds)


@lru_cache
def _limit(workers: int, seconds: float) -> float:
    """The strain at which finals wait for each other for :data:`_WAIT`, on average.

    Many workers are waited for less than few, and quick ones less than slow ones. The wait of an
    M/M/n queue is approximated as Sakasegawa does (1977, Ann. Inst. Stat. Math. 29, 67-75).
    """
    low, high = _LEAST, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        wait = seconds * middle ** (math.sqrt(2 * (workers + 1)) - 1) / (workers * (1 - middle))
        low, high = (middle, high) if wait <= _WAIT else (low, middle)
    return low


class Capacity:
    """Decides on newcomers, of whom ``sessions`` has those that were taken.

    ``full`` is as :func:`has_room` has it. ``late`` tells by how many seconds the event loop is
    usually late now.
    """

    def __init__(
        self,
        pressure: Callable[[], Pressure],
        sessions: SessionRegistry,
        full: float | None = None,
        late: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._pressure = pressure
        self._sessions = sessions
        self._full = full
        self._late = late
        self.refused = 0
        """Newcomers there was no room for."""

    @property
    def room(self) -> bool:
        """Whether one more would be taken now, of whomever."""
        return self._room(modest=False)

    @property
    def limit(self) -> float:
        """The strain beyond which no more are taken."""
        return limit_of(self._pressure()) if self._full is None else self._full

    def _room(self, *, modest: bool) -> bool:
        if self._late() >= _LOOP_LATE:
            return False
        new = self._sessions.begun_within(_NEW_SECONDS)
        live = len(self._sessions)
        return has_room(self._pressure(), new, live=live, modest=modest, full=self._full)

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
