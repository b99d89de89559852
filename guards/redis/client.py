"""A connection to Redis that answers soon, or says that it is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from importlib.resources import files
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

from guards.errors import StoreUnavailable
from guards.redis.address import Address

log = structlog.get_logger(__name__)

T = TypeVar("T")

_TIMEOUT: Final = 1.0
"""Seconds for a connection, and for an answer."""
_COOL_DOWN: Final = 1.0
"""Seconds for which it is not asked again after it did not answer."""
_AT_ONCE: Final = 64
"""Commands on their way at a time; each needs a connection of its own."""


class RedisHome:
    """The client of one server, or of a cluster. ``clock`` gives monotonic seconds.

    After a failure it is taken to be away for a moment and not asked, so that nobody who needs it
    waits for more than one timeout.
    """

    def __init__(
        self, address: Address, *, prefix: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.prefix = prefix
        # The three kinds of client have the same commands and no common type.
        self._clients = _connect(address)
        self.client = self._clients[0]
        self.time: Callable[[], float] | None = None
        """What takes the place of Redis's own clock in tests; seconds."""
        self._clock = clock
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._away_until = 0.0

    @property
    def away(self) -> bool:
        """Whether it did not answer a moment ago."""
        return self._clock() < self._away_until

    def key(self, *parts: str) -> str:
        """A key under the prefix."""
        return ":".join((self.prefix, *parts))

    def script(self, name: str) -> Script:
        """The Lua script of this name, beside this module."""
        folder = files("guards.redis")
        text = "".join(
            folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in ("moment", name)
        )
        return Script(self, self.client.register_script(text))

    @property
    def now(self) -> str:
        """What scripts are given as the time, in milliseconds: nothing, to go by Redis's clock."""
        return "" if self.time is None else str(round(self.time() * 1000))

    async def run(self, command: Callable[[], Awaitable[T]]) -> T:
        """Have a command carried out. Raises ``StoreUnavailable``."""
        if self.away:
            raise StoreUnavailable("Redis does not answer.", retry_after=_COOL_DOWN)
        async with self._slots:
            try:
                return await command()
            except (RedisError, RedisClusterException, OSError, TimeoutError) as error:
                if not self.away:
                    log.warning("redis does not answer", error=type(error).__name__)
                self._away_until = self._clock() + _COOL_DOWN
                raise StoreUnavailable("Redis does not answer.", retry_after=_COOL_DOWN) from error

    async def ping(self) -> None:
        """Raise ``StoreUnavailable`` when it does not answer."""
        await self.run(self.client.ping)

    async def close(self) -> None:
        for client in self._clients:
            await client.aclose()


class Script:
    """A script that is loaded where it is missing."""

    def __init__(self, home: RedisHome, script: Any) -> None:
        self._home = home
        self._script = script

    async def __call__(self, keys: Iterable[str], arguments: Iterable[str | float | bytes]) -> Any:
        """Its answer. Raises ``StoreUnavailable``."""
        return await self._home.run(lambda: self._script(keys=list(keys), args=list(arguments)))


def _connect(address: Address) -> list[Any]:
    """The client that is used, and those that it needs itself."""
    # One retry, at once: a connection that broke while nobody used it is made anew. Everything
    # that is sent may be sent twice; charges and leases have ids, counting once more is harmless.
    options: dict[str, Any] = {
        "socket_timeout": _TIMEOUT,
        "socket_connect_timeout": _TIMEOUT,
        "socket_keepalive": True,
        "health_check_interval": 30,
    }
    retry = Retry(NoBackoff(), 1)
    if address.mode in ("redis", "unix"):
        return [Redis.from_url(address.url, retry=retry, **options)]
    options |= {"username": address.username, "password": address.password, "ssl": address.tls}
    if address.mode == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.hosts]
        return [RedisCluster(startup_nodes=nodes, retry=retry, **options)]
    sentinel: Any = Sentinel(  # type: ignore[no-untyped-call]  # it has no types
        list(address.hosts),
        sentinel_kwargs=options,
        db=address.db,
        retry=retry,
        **options,
    )
    return [sentinel.master_for(address.service), *sentinel.sentinels]
