"""Leases that all processes share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Final

from guards.leases import Lease
from guards.redis.client import RedisHome

_UNLIMITED: Final = -1


class RedisLeases:
    """:class:`~guards.leases.Leases` in Redis, by Redis's own clock."""

    def __init__(self, home: RedisHome) -> None:
        self._home = home
        self._script = home.script("lease")

    async def acquire(self, lease: Lease, limit: int, ttl: float) -> bool:
        return bool(await self._take(lease, limit, ttl))

    async def renew(self, leases: Iterable[Lease], ttl: float) -> None:
        await asyncio.gather(*(self._take(lease, _UNLIMITED, ttl) for lease in leases))

    async def release(self, lease: Lease) -> None:
        await self._home.run(lambda: self._home.client.zrem(self._key(lease.subject), lease.id))

    async def count(self, subject: str) -> int:
        # Only to be looked at, so by this process's clock: where that is a little off, a stream
        # that crashed is seen a little longer.
        now = self._home.now or round(time.time() * 1000)
        key = self._key(subject)
        return int(await self._home.run(lambda: self._home.client.zcount(key, f"({now}", "+inf")))

    async def _take(self, lease: Lease, limit: int, ttl: float) -> int:
        arguments: list[str | float] = [self._home.now, round(ttl * 1000), limit, lease.id]
        return int(await self._script([self._key(lease.subject)], arguments))

    def _key(self, subject: str) -> str:
        return self._home.key("leases", f"{{{subject}}}")
