"""What :mod:`app.cache` shares between processes, on a real Redis and a cluster."""

from __future__ import annotations

import asyncio

import pytest

from guards.redis.cache import RedisCache
from guards.redis.client import RedisHome
from tests.clock import Clock

pytestmark = [
    pytest.mark.redis,
    pytest.mark.parametrize("redis", ["redis", "cluster"], indirect=True),
]


async def test_redis_holds_no_more_than_its_capacity(redis: RedisHome) -> None:
    clock = redis.time = Clock()
    cache = RedisCache(redis, "small", lifetime=60, capacity=100)
    for number in range(9):
        clock.now += 1
        await cache.put(f"n{number}", b"x" * 18)
    assert await cache.size() == (5, 100)
    assert [await cache.get(f"n{number}") is not None for number in range(9)] == (
        [False] * 4 + [True] * 5
    )
    assert await cache.put("n8", b"y" * 38) == 1  # it takes its own place, and one more
    assert await cache.get("n8") == b"y" * 38
    assert await cache.size() == (4, 100)
    assert await cache.put("large", b"z" * 100) == 0
    assert await cache.get("large") is None
    assert await cache.clear() == 4
    assert await cache.size() == (0, 0)


async def test_redis_forgets_by_itself(redis: RedisHome) -> None:
    clock = redis.time = Clock()
    cache = RedisCache(redis, "brief", lifetime=60, capacity=1000)
    await cache.put("a", b"1")
    clock.now += 59.9
    assert await cache.get("a") == b"1"
    clock.now += 0.1
    assert await cache.get("a") is None
    await cache.put("b", b"2")
    assert await cache.size() == (1, 2)  # what had expired is gone, and was no eviction
    keys = [key async for key in redis.client.scan_iter(match=f"{redis.prefix}:*")]
    assert len(keys) == 3
    for key in keys:
        assert 0 < await redis.client.pttl(key) <= 60_000


async def test_a_claim_is_its_holders(redis: RedisHome) -> None:
    cache = RedisCache(redis, "claims", lifetime=60, capacity=1000)
    assert await cache.claim("a", "one", 60)
    assert not await cache.claim("a", "other", 60)
    await cache.release("a", "other")
    assert not await cache.claim("a", "other", 60)
    await cache.release("a", "one")
    assert await cache.claim("a", "other", 0.01)
    while not await cache.claim("a", "third", 60):  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.002)  # it runs out by itself
