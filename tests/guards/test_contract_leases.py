"""What holds of leases in either home."""

from __future__ import annotations

import asyncio

import pytest

from guards.errors import StoreUnavailable
from guards.leases import Lease, LeaseKeeper, Leases, MemoryLeases
from guards.redis.client import RedisHome
from guards.redis.leases import RedisLeases
from tests.clock import Clock

TTL = 15.0


@pytest.fixture
def leases(redis: RedisHome | None, clock: Clock) -> Leases:
    if redis is None:
        return MemoryLeases(clock=clock)
    redis.time = clock
    return RedisLeases(redis)


async def take(leases: Leases, number: int, limit: int = 2) -> bool:
    return await leases.acquire(Lease("key", str(number)), limit, TTL)


async def test_the_limit_is_exact(leases: Leases) -> None:
    taken = await asyncio.gather(*(take(leases, number, 7) for number in range(50)))
    assert sum(taken) == 7
    assert await leases.count("key") == 7
    assert await leases.count("other") == 0


async def test_a_lease_is_given_back(leases: Leases) -> None:
    assert await take(leases, 1, 1)
    assert not await take(leases, 2, 1)
    await leases.release(Lease("key", "1"))
    await leases.release(Lease("key", "1"))
    assert await take(leases, 2, 1)


async def test_taking_again_is_keeping(leases: Leases) -> None:
    assert await take(leases, 1, 1)
    assert await take(leases, 1, 1)
    assert await leases.count("key") == 1


async def test_a_lease_without_a_heartbeat_runs_out(leases: Leases, clock: Clock) -> None:
    assert await take(leases, 1, 2)
    assert await take(leases, 2, 2)
    clock.now += 10
    await leases.renew([Lease("key", "2")], TTL)
    clock.now += 5
    assert await leases.count("key") == 1
    assert await take(leases, 3)
    assert not await take(leases, 4)


async def test_what_runs_is_counted_even_if_it_was_forgotten(leases: Leases) -> None:
    await leases.renew([Lease("key", "1"), Lease("key", "2")], TTL)
    assert await leases.count("key") == 2
    assert not await take(leases, 3)


async def test_a_clock_that_goes_back_holds_no_lease_for_long(leases: Leases, clock: Clock) -> None:
    assert await take(leases, 1, 1)
    clock.now -= 3600
    assert not await take(leases, 2, 1)
    clock.now += TTL + 0.1
    if isinstance(leases, RedisLeases):  # memory has a clock that doesn't
        assert await take(leases, 2, 1)


class _Away:
    """A store that comes and goes."""

    def __init__(self) -> None:
        self.here = MemoryLeases()
        self.away = False

    def _look(self) -> MemoryLeases:
        if self.away:
            raise StoreUnavailable("away")
        return self.here

    async def acquire(self, lease: Lease, limit: int, ttl: float) -> bool:
        return await self._look().acquire(lease, limit, ttl)

    async def renew(self, leases: object, ttl: float) -> None:
        await self._look().renew(leases, ttl)  # type: ignore[arg-type]  # passed through

    async def release(self, lease: Lease) -> None:
        await self._look().release(lease)

    async def count(self, subject: str) -> int:
        return await self._look().count(subject)


async def test_a_keeper_counts_by_itself_while_the_store_is_away() -> None:
    store = _Away()
    keeper = LeaseKeeper(store)
    async with keeper.hold("key", 2) as first:
        assert first
        store.away = True
        async with keeper.hold("key", 2) as second, keeper.hold("key", 2) as third:
            assert (second, third) == (True, False)
            await keeper.beat()
            store.away = False
            await keeper.beat()
            assert await store.count("key") == 2
        assert await store.count("key") == 1
    assert await store.count("key") == 0


async def test_a_cancelled_stream_gives_its_lease_back() -> None:
    store = MemoryLeases()
    keeper = LeaseKeeper(store)
    holding = asyncio.Event()

    async def stream() -> None:
        async with keeper.hold("key", 1):
            holding.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(stream())
    await holding.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await store.count("key") == 0
