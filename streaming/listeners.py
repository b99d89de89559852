"""Who is told of a session while it runs: what it uses, what it does, and how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from streaming import wire
from streaming.history import Entry


class Meter(Protocol):
    """Is told what a session uses, while it uses it."""

    def covers(self, audio_ms: int) -> bool:
        """Whether so much audio is paid for, and there is nothing to tell. Cheap."""
        ...

    async def spend(self, audio_ms: int, characters: int) -> Sequence[wire.WarningEvent]:
        """Take totals so far; returns what the client is to be told.

        Raises a fatal ``SurtitleError`` to end the session: what was said is finalised.
        """
        ...

    async def settle(self, audio_ms: int, characters: int) -> None:
        """Take what it comes to in the end, before the client is told of the end.

        May be called more than once; raises nothing.
        """
        ...


class Observer(Protocol):
    """Is told what comes and goes. Must be quick, and raise nothing."""

    def heard(self, samples: int, size: int) -> None:
        """``size`` bytes of audio came, or were decoded; so many samples are known by now."""
        ...

    def sent(self, event: wire.Event, size: int) -> None:
        """An event was given out, in ``size`` bytes: once, however often it is sent."""
        ...

    def closed(self, code: int, reason: str) -> None:
        """The session's connection is closed from this side."""
        ...


class Unobserved:
    """Nobody watches."""

    def heard(self, samples: int, size: int) -> None:
        pass

    def sent(self, event: wire.Event, size: int) -> None:
        pass

    def closed(self, code: int, reason: str) -> None:
        pass


class Recorder(Protocol):
    """Keeps a session where another process can go on with it."""

    @property
    def interval(self) -> float:
        """Seconds after which it is to be told even when nothing happened."""
        ...

    async def record(self, events: Sequence[Entry], first: int) -> bool:
        """Keep events and the session's checkpoint, before the client is sent the events.

        The checkpoint is to be taken before anything is waited for. Events below ``first`` need
        not be kept any more. False: not kept now; they will be given again. What was given before
        may be given again, too. Raises ``TakenOver`` when another process goes on with the session.
        """
        ...
