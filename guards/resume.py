"""Sessions whose connection, or process, may be lost: what another process needs to go on.

A session is found by the hash of its secret token. Of several processes one has it: who claims it
raises its epoch, and who had it before can write no more.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

Entry = tuple[int, bytes]
"""An event and its number."""

_PREFIX: Final = "rs_"
_BYTES: Final = 32
_EXPIRE_EVERY: Final = 1.0
"""Seconds between looks for what has expired: a look at each append would be the square of them."""


def mint() -> str:
    """A new token."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def name_of(token: str) -> str:
    """The name under which a token's session is kept. It does not lead back to the token."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """A session that was claimed. ``events`` are those up to ``last``, without a gap."""

    epoch: int
    state: bytes
    last: int
    events: list[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What is new of a session. ``owner`` is the key that it belongs to.

    ``events`` follow one another; ``next`` is the number of the first, or of the one to come.
    Those below ``first`` need not be kept any more. It is kept for ``ttl`` seconds.
    """

    name: str
    epoch: int
    owner: str
    state: bytes
    events: Sequence[bytes] = ()
    next: int
    first: int
    ttl: float


class ResumeLog(Protocol):
    """Where sessions are kept. Held to one contract suite. All raise ``StoreUnavailable``."""

    async def append(self, update: Update) -> bool:
        """Keep what is new, all of it or nothing. False: another has claimed the session.

        Events that are there already are not added again. A session that is not known (any more)
        is kept from now on.
        """
        ...

    async def claim(self, name: str, owner: str, ttl: float) -> Kept | None:
        """Take a session over, for ``ttl`` seconds. None: there is none, or not of this owner."""
        ...


@dataclass(slots=True)
class _Record:
    owner: str
    epoch: int
    state: bytes = b""
    first: int = 1
    events: list[bytes] = field(default_factory=list)
    until: float = 0.0

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1


class MemoryResumeLog:
    """:class:`ResumeLog` of one process. ``clock`` gives seconds and never runs backwards."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}
        self._expire_at = -math.inf

    def __len__(self) -> int:
        self._expire(self._clock())
        return len(self._records)

    async def append(self, update: Update) -> bool:
        now = self._clock()
        if now >= self._expire_at:
            self._expire(now)
        record = self._records.get(update.name)
        if record is None or record.until <= now:
            record = _Record(update.owner, update.epoch, first=update.next)
            self._records[update.name] = record
        elif record.epoch != update.epoch:
            return False
        if update.next > record.last + 1:
            record.events.clear()
            record.first = update.next
        known = record.last + 1 - update.next
        record.events += update.events[known:]
        dropped = update.first - record.first
        if dropped > 0:
            del record.events[:dropped]
            record.first = update.first
        record.state = update.state
        record.until = now + update.ttl
        return True

    async def claim(self, name: str, owner: str, ttl: float) -> Kept | None:
        self._expire(self._clock())
        record = self._records.get(name)
        if record is None or record.owner != owner:
            return None
        record.epoch += 1
        record.until = self._clock() + ttl
        events = list(enumerate(record.events, record.first))
        return Kept(record.epoch, record.state, record.last, events)

    def _expire(self, now: float) -> None:
        self._expire_at = now + _EXPIRE_EVERY
        for name in [name for name, record in self._records.items() if record.until <= now]:
            del self._records[name]
