"""Results that all processes share, for a while and up to a size."""

from __future__ import annotations

from guards.redis.client import RedisHome


class RedisCache:
    """Bytes by name, in Redis. Every method raises ``StoreUnavailable`` when it is away.

    Values live ``lifetime`` seconds; what expires first goes when all names and values together
    would be more than ``capacity`` bytes. A claim tells other processes that a value is being made.
    """

    def __init__(self, home: RedisHome, name: str, *, lifetime: float, capacity: int) -> None:
        self._home = home
        self._lifetime = round(lifetime * 1000)
        self._capacity = capacity
        self._tag = f"{{cache-{name}}}"
        self._keys = [home.key(self._tag, part) for part in ("values", "expiry", "bytes")]
        self._get = home.script("cache_get")
        self._put = home.script("cache_put")
        self._release = home.script("cache_release")

    async def get(self, name: str) -> bytes | None:
        """The value, if there is one that has not expired."""
        found: bytes | None = await self._get(self._keys[:2], [self._home.now, name])
        return found

    async def put(self, name: str, value: bytes) -> int:
        """Keep a value; how many others had to go. One that is too large is not kept."""
        if len(name) + len(value) > self._capacity:
            return 0
        bounds = self._home.now, self._lifetime, self._capacity
        return int(await self._put(self._keys, (*bounds, name, value)))

    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        """Say that a value is being made, for so long at most; False if somebody else has."""
        key, lifetime = self._claim(name), round(seconds * 1000)
        return bool(
            await self._home.run(
                lambda: self._home.client.set(key, holder, nx=True, px=max(1, lifetime))
            )
        )

    async def release(self, name: str, holder: str) -> None:
        """Take back a claim. Idempotent."""
        await self._release([self._claim(name)], [holder])

    async def clear(self) -> int:
        """Drop all values; how many there were."""
        count = await self._home.run(lambda: self._home.client.hlen(self._keys[0]))
        await self._home.run(lambda: self._home.client.unlink(*self._keys))
        return int(count)

    async def size(self) -> tuple[int, int]:
        """How many values there are (those that have just expired, too), and their bytes."""
        count = await self._home.run(lambda: self._home.client.hlen(self._keys[0]))
        weight = await self._home.run(lambda: self._home.client.get(self._keys[2]))
        return int(count), int(weight or 0)

    def _claim(self, name: str) -> str:
        return self._home.key(self._tag, "claim", name)
