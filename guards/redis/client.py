"""A connection to Redis that answers soon, or says that it is away."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable
from importlib.resources import files
from typing import Any, Final, TypeVar

import structlog
from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError, RedisClusterException, RedisError  # noqa: A004 - redis's own

from guards.errors import StoreUnavailable
from guards.redis.address import Address

log = structlog.get_logger(__name__)

T = TypeVar("T")

_CONNECT_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 2.0
"""A Redis whose disk is busy answers late, and is there all the same."""
_PROBE_SECONDS: Final = 0.5
"""How often it is looked whether a Redis that was away is back."""
_AT_ONCE: Final = 64
"""Commands on their way at a time; each needs a connection of its own."""


_FAILURES: Final = (RedisError, RedisClusterException, OSError, TimeoutError)


class RedisHome:
    """The client of one server, or of a cluster.

    After a failure it is taken to be away until it answers a ping; meanwhile it is not asked, so
    that nobody waits for it but who met the failure.
    """

    def __init__(self, address: Address, *, prefix: str) -> None:
        self.prefix = prefix
        # The three kinds of client have the same commands and no common type.
        self._clients = _connect(address)
        self.client = self._clients[0]
        self.time: Callable[[], float] | None = None
        """What takes the place of Redis's own clock in tests; seconds."""
        self.outages = 0
        """How often it ceased to answer."""
        self.observe: Callable[[float], None] = lambda _seconds: None
        """Is told how long each command took."""
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._probe: asyncio.Task[None] | None = None

    @property
    def away(self) -> bool:
        """Whether it did not answer, and has not since."""
        return self._probe is not None and not self._probe.done()

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
        async with self._slots:
            if self.away:
                raise _unavailable()
            began = time.monotonic()
            try:
                return await command()
            except _FAILURES as error:
                if not self.away:
                    self.outages += 1
                    log.warning("redis does not answer", error=type(error).__name__)
                    self._probe = asyncio.create_task(self._until_back(), name="probe redis")
                raise _unavailable() from error
            finally:
                self.observe(time.monotonic() - began)

    async def _until_back(self) -> None:
        while True:
            await asyncio.sleep(_PROBE_SECONDS)
            with contextlib.suppress(*_FAILURES):
                await self.client.ping()
                log.warning("redis answers again")
                return

    async def ping(self) -> None:
        """Raise ``StoreUnavailable`` when it does not answer."""
        await self.run(self.client.ping)

    async def close(self) -> None:
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.wait([self._probe])
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


def _unavailable() -> StoreUnavailable:
    return StoreUnavailable("Redis does not answer.", retry_after=1.0)


def _connect(address: Address) -> list[Any]:
    """The client that is used, and those that it needs itself."""
    # One retry, at once, over a new connection: the old one may have broken while nobody used it.
    # Everything that is sent may be sent twice: charges and leases have ids, and to count a request
    # once more is harmless. Who was too slow once is not asked twice.
    options: dict[str, Any] = {
        "socket_timeout": _ANSWER_SECONDS,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "socket_keepalive": True,
        "health_check_interval": 30,
    }
    retry = Retry(NoBackoff(), 1, supported_errors=(ConnectionError,))
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
