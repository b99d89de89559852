"""One-use tickets, with which a browser opens a WebSocket.

A browser can't put headers on a WebSocket handshake, and a lasting key in an address ends up in
logs; so a page exchanges its key for a ticket that is worthless a minute later, or once used.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from guards.errors import InvalidCredential, TooManyTickets
from guards.principal import Principal

PER_KEY: Final = 200
"""Unused tickets a key may have."""

_PREFIX: Final = "tk_"
_BYTES: Final = 32


def mint() -> str:
    """A new ticket."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def unknown() -> InvalidCredential:
    """The error for a ticket that is not, or no longer, good."""
    return InvalidCredential("This ticket is unknown, was used already, or has expired.")


def too_many(retry_after: float) -> TooManyTickets:
    """The error for a key that hoards tickets."""
    return TooManyTickets(
        "There are too many unused tickets; use them, or wait until they expire.",
        retry_after=retry_after,
    )


class Tickets(Protocol):
    """Where unused tickets are kept. Held to one contract suite."""

    @property
    def lifetime(self) -> float:
        """Seconds for which an unused ticket is good."""
        ...

    async def issue(self, principal: Principal) -> str:
        """A ticket that stands for this principal once.

        Raises ``TooManyTickets`` or ``StoreUnavailable``.
        """
        ...

    async def take(self, ticket: str) -> Principal:
        """Use a ticket up; of two who try, one succeeds.

        Raises ``InvalidCredential`` when it is unknown, used or expired, or ``StoreUnavailable``.
        The three are not told apart: a ticket that is gone leaves no trace to tell them by.
        """
        ...


class MemoryTickets:
    """:class:`Tickets` of one process.

    ``lifetime`` is in seconds; ``clock`` gives seconds and never runs backwards. All on one event
    loop, so that taking a ticket is atomic. Bounded, in all and for each key: when there is no
    room a new ticket is refused, an issued one is never dropped.
    """

    def __init__(
        self,
        *,
        lifetime: float = 60.0,
        limit: int = 10_000,
        limit_per_key: int = PER_KEY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lifetime = lifetime
        self._limit = limit
        self._limit_per_key = limit_per_key
        self._clock = clock
        # In the order they were issued, which, with one lifetime, is that in which they expire.
        self._open: OrderedDict[str, tuple[float, Principal]] = OrderedDict()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        self._expire()
        return len(self._open)

    @property
    def lifetime(self) -> float:
        return self._lifetime

    async def issue(self, principal: Principal) -> str:
        self._expire()
        held = self._held[principal.key_id]
        if held >= self._limit_per_key or len(self._open) >= self._limit:
            raise too_many(self._until_room(principal.key_id if held else None))
        ticket = mint()
        self._open[ticket] = (self._clock() + self._lifetime, principal)
        self._held[principal.key_id] += 1
        return ticket

    async def take(self, ticket: str) -> Principal:
        self._expire()
        held = self._open.pop(ticket, None)
        if held is None:
            raise unknown()
        self._release(held[1])
        return held[1]

    def _expire(self) -> None:
        now = self._clock()
        while self._open:
            ticket, (expires, principal) = next(iter(self._open.items()))
            if expires > now:
                return
            del self._open[ticket]
            self._release(principal)

    def _release(self, principal: Principal) -> None:
        self._held[principal.key_id] -= 1
        if not self._held[principal.key_id]:
            del self._held[principal.key_id]

    def _until_room(self, key_id: str | None) -> float:
        """Seconds until the oldest ticket (of a key, if given) expires."""
        expires = next(
            expires
            for expires, principal in self._open.values()
            if key_id is None or principal.key_id == key_id
        )
        return max(0.0, expires - self._clock())
