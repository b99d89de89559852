"""Results that are kept: in memory, and with Redis in a home that all processes share.

A cache is never the reason why something fails: without Redis it is what memory holds.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

import msgspec
import structlog

from app.singleflight import SingleFlight
from guards.errors import StoreUnavailable
from inference import memory

log = structlog.get_logger(__name__)


K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
R = TypeVar("R")

Key = tuple[str, ...]
"""Everything a result depends on: versions of models, options, and what was asked."""

_POLL_SECONDS: Final = (0.02, 0.5)
"""First and longest pause between looks for what another process makes."""


@dataclass(slots=True)
class _Held(Generic[V]):
    value: V
    weight: int
    until: float


class LruCache(Generic[K, V]):
    """Keeps the most recently used values up to a total weight. One event loop or thread only.

    ``weigh`` gives a value's weight in whatever unit ``capacity`` is; what alone is too heavy is
    not kept. Values are kept for ``lifetime`` seconds of ``clock``.
    """

    def __init__(
        self,
        capacity: int,
        weigh: Callable[[V], int] = lambda _: 1,
        *,
        lifetime: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._lifetime = lifetime
        self._clock = clock
        self._held: OrderedDict[K, _Held[V]] = OrderedDict()
        self.weight = 0
        self.evictions = 0
        """Values that went to make room, since the start."""

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K) -> V | None:
        held = self._held.get(key)
        if held is None:
            return None
        if self._clock() >= held.until:
            self._drop(key)
            return None
        self._held.move_to_end(key)
        return held.value

    def put(self, key: K, value: V) -> None:
        if key in self._held:
            self._drop(key)
        weight = self._weigh(value)
        if weight > self._capacity or self._lifetime <= 0:
            return
        self._held[key] = _Held(value, weight, self._clock() + self._lifetime)
        self.weight += weight
        while self.weight > self._capacity:
            self._drop(next(iter(self._held)))
            self.evictions += 1

    def clear(self) -> None:
        self._held.clear()
        self.weight = 0

    def _drop(self, key: K) -> None:
        self.weight -= self._held.pop(key).weight


class SharedHome(Protocol):
    """Bytes by name, shared by processes: :class:`~guards.redis.cache.RedisCache`.

    Everything raises ``StoreUnavailable`` when it is away.
    """

    async def get(self, name: str, /) -> bytes | None: ...
    async def put(self, name: str, value: bytes, /) -> int: ...
    async def claim(self, name: str, holder: str, seconds: float, /) -> bool: ...
    async def release(self, name: str, holder: str, /) -> None: ...
    async def clear(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ResultCacheStats:
    """What a cache of this process did since the start, and what it holds in memory."""

    hits: int
    misses: int
    """Results that were made."""
    joined: int
    """Requests that waited for a result which was being made already."""
    entries: int
    weight: int
    """Of all entries, in bytes, estimated."""
    evictions: int
    """Results that went to make room: in memory, and what this process displaced in Redis."""
    shared: bool
    """Whether there is a home that processes share."""
    shared_failures: int
    """Times it did not answer."""


class ResultCache(Generic[V]):
    """Results by key, made once however many ask at the same time.

    ``kind`` is the type that the shared home's bytes are read as. A result is made by one process
    at a time: others wait for it ``patience`` seconds, and then make it themselves.
    """

    def __init__(
        self,
        memory: LruCache[Key, V],
        kind: type[V],
        shared: SharedHome | None = None,
        *,
        patience: float = 2.0,
    ) -> None:
        self._memory = memory
        self._shared = shared
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._patience = patience
        self._flights: SingleFlight[Key, tuple[V, bool]] = SingleFlight()
        self._hits = self._misses = self._evictions = self._failures = 0
        self._cleared = 0

    def __len__(self) -> int:
        return len(self._memory)

    @property
    def stats(self) -> ResultCacheStats:
        return ResultCacheStats(
            hits=self._hits,
            misses=self._misses,
            joined=self._flights.shared,
            entries=len(self._memory),
            weight=self._memory.weight,
            evictions=self._memory.evictions + self._evictions,
            shared=self._shared is not None,
            shared_failures=self._failures,
        )

    @property
    def totals(self) -> memory.CacheStats:
        """The statistics that all caches have."""
        return memory.CacheStats(self._hits, self._misses, len(self._memory))

    def peek(self, key: Key) -> V | None:
        """What memory holds; without waiting."""
        found = self._memory.get(key)
        self._hits += found is not None
        return found

    async def get(self, key: Key) -> V | None:
        """What is kept of this key, here or in the shared home."""
        found = self.peek(key)
        if found is None and self._shared is not None:
            found = await self._read(self._shared, key)
            self._hits += found is not None
        return found

    async def fetch(
        self,
        key: Key,
        make: Callable[[], Awaitable[V]],
        *,
        worth_keeping: Callable[[V], bool] = lambda _: True,
    ) -> tuple[V, bool]:
        """The result of a key, and whether it was kept; otherwise it is made, and then kept if it
        is ``worth_keeping``.

        Raises what ``make`` raises, for all who wait for it.
        """
        found = self.peek(key)
        if found is not None:
            return found, True

        async def work() -> tuple[V, bool]:
            if self._shared is None:
                return await self._make(key, make, worth_keeping), False
            return await self._share(self._shared, key, make, worth_keeping)

        return await self._flights.run(key, work)

    async def clear(self) -> int:
        """Forget everything, in the shared home too; how many results that were there.

        Raises ``StoreUnavailable`` when the shared home is away; what is here is forgotten.
        """
        count = len(self._memory)
        self._cleared += 1
        self._memory.clear()
        return count if self._shared is None else await self._shared.clear()

    # ------------------------------------------------------------ inside

    async def _make(
        self, key: Key, make: Callable[[], Awaitable[V]], worth_keeping: Callable[[V], bool]
    ) -> V:
        era = self._cleared
        self._misses += 1
        made = await make()
        if era == self._cleared and worth_keeping(made):
            self._memory.put(key, made)
        return made

    async def _share(
        self,
        shared: SharedHome,
        key: Key,
        make: Callable[[], Awaitable[V]],
        worth_keeping: Callable[[V], bool],
    ) -> tuple[V, bool]:
        """As :meth:`_make`, unless the shared home has it or another process makes it."""
        holder = secrets.token_hex(8)
        found = await self._await_others(shared, key, holder)
        if found is not None:
            self._hits += 1
            return found, True
        era = self._cleared
        try:
            made = await self._make(key, make, worth_keeping)
            if era == self._cleared and worth_keeping(made):
                await self._write(shared, key, made)
        finally:
            # Also when nobody waits any more: another process shall not wait either.
            await asyncio.shield(self._forgiving(shared.release(_name(key), holder)))
        return made, False

    async def _await_others(self, shared: SharedHome, key: Key, holder: str) -> V | None:
        """What another process has made, or makes; None when it is this one's turn."""
        name, (pause, longest) = _name(key), _POLL_SECONDS
        deadline = time.monotonic() + self._patience
        while True:
            found = await self._read(shared, key)
            if found is not None:
                return found
            claimed = await self._forgiving(shared.claim(name, holder, self._patience))
            # None: the home is away, and nobody can be waited for.
            if claimed is not False or time.monotonic() >= deadline:
                return None
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def _read(self, shared: SharedHome, key: Key) -> V | None:
        data = await self._forgiving(shared.get(_name(key)))
        if data is None:
            return None
        try:
            found: V = self._decoder.decode(data)
        except msgspec.DecodeError:
            log.warning("a cached result can't be read")
            return None
        self._memory.put(key, found)
        return found

    async def _write(self, shared: SharedHome, key: Key, value: V) -> None:
        self._evictions += (
            await self._forgiving(shared.put(_name(key), msgspec.msgpack.encode(value))) or 0
        )

    async def _forgiving(self, call: Awaitable[R]) -> R | None:
        """A call's answer; None when the shared home is away."""
        try:
            return await call
        except StoreUnavailable:
            self._failures += 1
            return None


def _name(key: Key) -> str:
    """A key as the shared home knows it: short, and not to be read."""
    return hashlib.blake2b(msgspec.msgpack.encode(key), digest_size=20).hexdigest()
