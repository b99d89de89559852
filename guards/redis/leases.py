"""Leases that all processes share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Final

from guards.leases import Lease
from guards.redis.client import RedisHome

_UNLIMITED: Final = -1


class RedisLeases:
    """:class:`~guards.leases.Leases` in Redis, by Redis's own clock.

    ``clock`` (seconds) takes its place in tests.
    """

    def __init__(self, home: RedisHome, *, clock: Callable[[], float] | None = None) -> None:
        self._home = home
        self._clock = clock
        self._script = home.script("lease")

    async def acquire(self, lease: Lease, limit: int, ttl: float) -> bool:
        return bool(await self._take(lease, limit, ttl))

    async def renew(self, leases: Iterable[Lease], ttl: float) -> None:
        await asyncio.gather(*(self._take(lease, _UNLIMITED, ttl) for lease in leases))

    async def release(self, lease: Lease) -> None:
        await self._home.run(lambda: self._home.client.zrem(self._key(lease.subject), lease.id))

    async def count(self, subject: str) -> int:
        now = await self._now()
        key = self._key(subject)
        return int(await self._home.run(lambda: self._home.client.zcount(key, f"({now}", "+inf")))

    async def _take(self, lease: Lease, limit: int, ttl: float) -> int:
        now = "" if self._clock is None else round(self._clock() * 1000)
        arguments = [now, round(ttl * 1000), limit, lease.id]
        return int(await self._script([self._key(lease.subject)], arguments))

    async def _now(self) -> int:
        if self._clock is not None:
            return round(self._clock() * 1000)
        # Only to be looked at: a clock that is a little off shows a crashed stream a little longer.
        return round(time.time() * 1000)

    def _key(self, subject: str) -> str:
        return self._home.key("leases", f"{{{subject}}}")
