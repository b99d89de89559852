"""Leases: how many streams a key has open at once, in whichever process.

A lease is taken when a stream starts, kept by a heartbeat and given back at its end. A process that
dies gives nothing back; its leases run out instead.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from guards.errors import StoreUnavailable

log = structlog.get_logger(__name__)

TTL: Final = 15.0
"""Seconds a lease outlives its last heartbeat: how long a stream that crashed counts."""

HEARTBEAT: Final = TTL / 3


@dataclass(frozen=True, slots=True)
class Lease:
    """One of the places that ``subject`` has."""

    subject: str
    id: str


class Leases(Protocol):
    """Where leases are held. Held to one contract suite."""

    async def acquire(self, lease: Lease, limit: int, ttl: float) -> bool:
        """Take a lease for ``ttl`` seconds, if the subject then has at most ``limit``.

        Raises ``StoreUnavailable``.
        """
        ...

    async def renew(self, leases: Iterable[Lease], ttl: float) -> None:
        """Keep leases for ``ttl`` more seconds.

        One that was lost is taken anew, over any limit: what runs, runs.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Give a lease back. Idempotent."""
        ...

    async def count(self, subject: str) -> int:
        """How many leases a subject has."""
        ...


class MemoryLeases:
    """:class:`Leases` of one process. ``clock`` gives seconds and never runs backwards."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._held: dict[str, dict[str, float]] = {}

    async def acquire(self, lease: Lease, limit: int, ttl: float) -> bool:
        held = self._live(lease.subject)
        if lease.id not in held and len(held) >= limit:
            return False
        self._held.setdefault(lease.subject, {})[lease.id] = self._clock() + ttl
        return True

    async def renew(self, leases: Iterable[Lease], ttl: float) -> None:
        for lease in leases:
            self._held.setdefault(lease.subject, {})[lease.id] = self._clock() + ttl

    async def release(self, lease: Lease) -> None:
        self._held.get(lease.subject, {}).pop(lease.id, None)
        self._live(lease.subject)

    async def count(self, subject: str) -> int:
        return len(self._live(subject))

    def _live(self, subject: str) -> dict[str, float]:
        now = self._clock()
        held = self._held.get(subject, {})
        for lease in [lease for lease, until in held.items() if until <= now]:
            del held[lease]
        if not held:
            self._held.pop(subject, None)
        return held


class LeaseKeeper:
    """Takes leases for the streams of this process, and keeps them while they run.

    While the store is away, streams are counted by ``fallback`` for this process alone, and the
    store is told of them with the first heartbeat that reaches it.
    """

    def __init__(self, leases: Leases, *, ttl: float = TTL) -> None:
        self.leases = leases
        self.fallback = MemoryLeases()
        self._ttl = ttl
        self._held: set[Lease] = set()

    async def take(self, subject: str, limit: int) -> Lease | None:
        """Take a lease, and keep it until it is given back; None where there is none to be had."""
        lease = Lease(subject, secrets.token_hex(8))
        if not await self._acquire(lease, limit):
            return None
        self._held.add(lease)
        return lease

    async def adopt(self, lease: Lease) -> None:
        """Keep the lease of a stream that another process began, over any limit: it runs."""
        self._held.add(lease)
        await self.fallback.renew([lease], self._ttl)
        try:
            await self.leases.renew([lease], self._ttl)
        except StoreUnavailable:
            log.warning("a lease was not renewed; the heartbeat will", exc_info=True)

    def leave(self, lease: Lease) -> None:
        """Keep a lease no longer, because another process does."""
        self._held.discard(lease)

    async def give_back(self, lease: Lease) -> None:
        """Idempotent. Done even if the caller is cancelled: a place that is not given back is lost
        to its owner until it runs out.
        """
        if lease in self._held:
            self._held.discard(lease)
            await asyncio.shield(self._release(lease))

    async def run(self) -> None:
        """The heartbeat, for ever."""
        while True:
            await asyncio.sleep(self._ttl / 3)
            await self.beat()

    async def beat(self) -> None:
        """Keep everything that is held."""
        held = tuple(self._held)
        if not held:
            return
        await self.fallback.renew(held, self._ttl)
        try:
            await self.leases.renew(held, self._ttl)
            for lease in set(held) - self._held:  # given back meanwhile, and taken anew by this
                await self.leases.release(lease)
        except StoreUnavailable:
            log.warning("leases not renewed", leases=len(held), exc_info=True)

    async def _acquire(self, lease: Lease, limit: int) -> bool:
        try:
            acquired = await self.leases.acquire(lease, limit, self._ttl)
        except StoreUnavailable:
            return await self.fallback.acquire(lease, limit, self._ttl)
        if acquired:
            await self.fallback.renew([lease], self._ttl)
        return acquired

    async def _release(self, lease: Lease) -> None:
        await self.fallback.release(lease)
        try:
            await self.leases.release(lease)
        except StoreUnavailable:
            log.warning("a lease was not given back; it runs out by itself", exc_info=True)
