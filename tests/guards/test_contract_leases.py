"""What holds of leases in either home."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

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
    first = await keeper.take("key", 2)
    store.away = True
    second = await keeper.take("key", 2)
    assert first is not None
    assert second is not None
    assert await keeper.take("key", 2) is None
    await keeper.beat()
    store.away = False
    await keeper.beat()
    assert await store.count("key") == 2
    await keeper.give_back(second)
    await keeper.give_back(second)
    assert await store.count("key") == 1
    await keeper.give_back(first)
    assert await store.count("key") == 0


class _Slow(MemoryLeases):
    """A store that answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = asyncio.Event(), asyncio.Event()

    async def _wait(self) -> None:
        self.asked.set()
        await self.answer.wait()

    async def renew(self, leases: Iterable[Lease], ttl: float) -> None:
        await self._wait()
        await super().renew(leases, ttl)

    async def release(self, lease: Lease) -> None:
        await self._wait()
        await super().release(lease)


async def test_a_lease_is_given_back_though_its_stream_is_cancelled() -> None:
    store = _Slow()
    keeper = LeaseKeeper(store)
    lease = await keeper.take("key", 1)
    assert lease is not None
    task = asyncio.create_task(keeper.give_back(lease))
    await store.asked.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    store.answer.set()
    async with asyncio.timeout(5):
        while await store.count("key"):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def test_a_heartbeat_does_not_bring_back_what_was_given_back_meanwhile() -> None:
    store = _Slow()
    keeper = LeaseKeeper(store)
    lease = await keeper.take("key", 1)
    assert lease is not None
    beat = asyncio.create_task(keeper.beat())
    await store.asked.wait()
    back = asyncio.create_task(keeper.give_back(lease))
    await asyncio.sleep(0)
    store.answer.set()
    await asyncio.gather(beat, back)
    assert await store.count("key") == 0
