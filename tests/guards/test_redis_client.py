"""A Redis that is not there, and one that comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guards.errors import StoreUnavailable
from guards.leases import Lease
from guards.redis.address import parse
from guards.redis.client import RedisHome
from guards.redis.leases import RedisLeases
from guards.redis.windows import RedisWindows
from guards.windows import Window
from streaming.breaker import BreakerPolicy, CircuitBreaker
from tests.clock import Clock
from tests.redis_server import RedisServer, free_port, running_redis


@pytest.fixture
async def nowhere() -> AsyncIterator[RedisHome]:
    home = RedisHome(parse(f"redis://127.0.0.1:{free_port()}"), prefix="test")
    yield home
    await home.close()


async def test_who_is_not_there_is_not_asked_again(nowhere: RedisHome) -> None:
    asked = 0
    took: list[float] = []
    nowhere.observe = took.append

    async def ask() -> None:
        nonlocal asked
        asked += 1
        await nowhere.client.ping()

    assert not nowhere.away
    for _ in range(3):
        with pytest.raises(StoreUnavailable) as caught:
            await nowhere.run(ask)
        assert caught.value.retry_after == 1.0
        assert nowhere.away
    assert asked == 1
    assert (len(took), nowhere.outages) == (1, 1)


async def test_a_breaker_of_ones_own_decides_when_it_is_away() -> None:
    breaker = CircuitBreaker("redis", BreakerPolicy(failures=3, recovery=60.0), clock=Clock())
    address = parse(f"redis://127.0.0.1:{free_port()}")
    home = RedisHome(address, prefix="test", breaker=breaker)
    for tries in range(1, 4):
        with pytest.raises(StoreUnavailable):
            await home.ping()
        assert home.away is (tries == 3)
    breaker.reset()
    assert not home.away
    with pytest.raises(StoreUnavailable):  # asked again, and no better
        await home.ping()
    assert breaker.status.failures == 1
    await home.close()


async def test_an_error_of_the_callers_is_no_outage(nowhere: RedisHome) -> None:
    async def wrong() -> None:
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await nowhere.run(wrong)
    assert not nowhere.away


async def test_calls_are_timed_and_refusals_are_not(nowhere: RedisHome) -> None:
    seconds: list[float] = []
    nowhere.observe = seconds.append

    async def answer() -> str:
        return "here"

    assert await nowhere.run(answer) == "here"
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            await nowhere.ping()
    assert len(seconds) == 2
    assert min(seconds) >= 0


async def test_every_adapter_says_that_it_is_away(nowhere: RedisHome) -> None:
    for call in (
        RedisWindows(nowhere).admit("key", [Window("minute", 1, 60)]),
        RedisLeases(nowhere).acquire(Lease("key", "1"), 1, 15.0),
        nowhere.ping(),
    ):
        with pytest.raises(StoreUnavailable):
            await call


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path) as started:
        yield started


@pytest.mark.redis
async def test_it_works_again_when_redis_is_back_and_has_forgotten_its_scripts(
    server: RedisServer,
) -> None:
    home = RedisHome(parse(server.url), prefix="test")
    windows = RedisWindows(home)
    minute = [Window("minute", 3, 60)]
    assert (await windows.admit("key", minute)).admitted
    server.stop()
    with pytest.raises(StoreUnavailable):
        await windows.admit("key", minute)
    with pytest.raises(StoreUnavailable):
        await home.ping()
    server.start()
    assert home._probe is not None
    await asyncio.wait_for(home._probe, 10)
    admitted = [(await windows.admit("key", minute)).admitted for _ in range(3)]
    assert admitted == [True, True, False]
    await home.close()


@pytest.mark.redis
async def test_a_restart_that_nobody_saw_is_no_outage(server: RedisServer) -> None:
    home = RedisHome(parse(server.url), prefix="test")
    await asyncio.gather(*(home.ping() for _ in range(20)))
    server.stop()
    server.start()
    await asyncio.gather(*(home.ping() for _ in range(20)))
    assert not home.away
    await home.close()
