"""Addresses that send wrong credentials are slowed down."""

from __future__ import annotations

import ipaddress
import time
from typing import Final, Protocol

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from guards.errors import TooManyFailures

log = structlog.get_logger(__name__)

_NAMESPACE: Final = "wrong-credentials"
_IPV6_PREFIX: Final = 64
"""What one subscriber is given: all of it counts as one address."""
_REMEMBERED: Final = 10_000


class LoginThrottle(Protocol):
    """Counts wrong credentials by the address they came from."""

    async def check(self, address: str) -> None:
        """Raise ``TooManyFailures`` while an address has had its share."""
        ...

    async def failed(self, address: str) -> None:
        """Count a wrong credential."""
        ...

    async def reset(self, address: str) -> None:
        """Forget what an address did."""
        ...


class BoundedMemory(MemoryStorage):
    """Counters in memory; when there are too many they are all forgotten.

    Who has ten thousand addresses to send from is not held up by a limit for each of them.
    """

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        if key not in self.storage and len(self.storage) >= _REMEMBERED:
            log.warning("wrong credentials from very many addresses")
            await self.reset()
        return await super().incr(key, expiry, amount)


class WindowThrottle:
    """A sliding minute for each address, on any storage of ``limits``.

    Where the storage does not answer nobody is turned away: made keys have 256 bits, and can't be
    guessed at any speed.
    """

    def __init__(self, storage: Storage, *, per_minute: int) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._limit = RateLimitItemPerMinute(per_minute)

    async def check(self, address: str) -> None:
        source = _network(address)
        try:
            if await self._limiter.test(self._limit, _NAMESPACE, source):
                return
            window = await self._limiter.get_window_stats(self._limit, _NAMESPACE, source)
        except StorageError:
            log.warning("wrong credentials not counted", exc_info=True)
            return
        raise TooManyFailures(
            "Too many wrong credentials came from this address; wait a little.",
            retry_after=max(1.0, round(window.reset_time - time.time(), 1)),
        )

    async def failed(self, address: str) -> None:
        try:
            await self._limiter.hit(self._limit, _NAMESPACE, _network(address))
        except StorageError:
            log.warning("wrong credentials not counted", exc_info=True)

    async def reset(self, address: str) -> None:
        await self._limiter.clear(self._limit, _NAMESPACE, _network(address))


def _network(address: str) -> str:
    """What is counted as one source. What is no address (a Unix socket's peer) is one as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, _IPV6_PREFIX), strict=False))
