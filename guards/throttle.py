"""Addresses that send wrong credentials are slowed down."""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, Protocol

from guards.errors import StoreUnavailable, TooManyFailures
from guards.windows import MemoryWindows, Window, Windows

_IPV6_PREFIX: Final = 64
"""What one subscriber is given: all of it counts as one address."""
_REMEMBERED: Final = 10_000
"""Addresses. Who has more to send from is not held up by a limit for each of them."""


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


class WindowThrottle:
    """A sliding minute for each address, shared by all who count in these windows.

    Only wrong credentials are counted there; that an address has to wait is remembered here, so
    that right ones cost nothing. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self, windows: Windows, *, per_minute: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._windows = windows
        self._fallback = MemoryWindows(capacity=_REMEMBERED)
        self._window = Window("wrong", per_minute, 60)
        self._clock = clock
        self._waiting: OrderedDict[str, float] = OrderedDict()

    async def check(self, address: str) -> None:
        left = self._waiting.get(_subject(address), 0.0) - self._clock()
        if left > 0:
            raise TooManyFailures(
                "Too many wrong credentials came from this address; wait a little.",
                retry_after=max(1.0, round(left, 1)),
            )

    async def failed(self, address: str) -> None:
        subject = _subject(address)
        try:
            decision = await self._windows.admit(subject, [self._window])
        except StoreUnavailable:
            decision = await self._fallback.admit(subject, [self._window])
        if decision.tightest.retry_after:
            self._waiting[subject] = self._clock() + decision.tightest.retry_after
            self._waiting.move_to_end(subject)
            if len(self._waiting) > _REMEMBERED:
                self._waiting.popitem(last=False)

    async def reset(self, address: str) -> None:
        subject = _subject(address)
        self._waiting.pop(subject, None)
        await self._fallback.clear(subject)
        await self._windows.clear(subject)


def _subject(address: str) -> str:
    return f"address {_network(address)}"


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
