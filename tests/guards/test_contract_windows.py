"""What holds of sliding windows in either home."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guards.redis.address import parse
from guards.redis.client import RedisHome
from guards.redis.windows import RedisWindows
from guards.windows import MemoryWindows, Window, Windows
from tests.clock import Clock
from tests.redis_server import RedisServer

MINUTE = Window("minute", 5, 60)
DAY = Window("day", 8, 86_400)


@pytest.fixture
def windows(redis: RedisHome | None, clock: Clock) -> Windows:
    if redis is None:
        return MemoryWindows(clock=clock)
    redis.time = clock
    return RedisWindows(redis)


async def admitted(windows: Windows, *asked: Window, times: int, cost: int = 1) -> int:
    decisions = await asyncio.gather(*(windows.admit("key", asked, cost) for _ in range(times)))
    return sum(decision.admitted for decision in decisions)


async def test_the_limit_is_exact(windows: Windows) -> None:
    assert await admitted(windows, MINUTE, times=40) == 5


async def test_subjects_do_not_share(windows: Windows) -> None:
    assert await admitted(windows, MINUTE, times=6) == 5
    assert (await windows.admit("other", [MINUTE])).admitted


async def test_what_one_window_refuses_counts_in_none(windows: Windows, clock: Clock) -> None:
    assert await admitted(windows, MINUTE, DAY, times=50) == 5
    clock.now += 120
    assert await admitted(windows, MINUTE, DAY, times=50) == 3
    clock.now += 120
    decision = await windows.admit("key", [MINUTE, DAY])
    assert not decision.admitted
    assert decision.tightest.window == DAY
    assert [standing.remaining for standing in decision.standings] == [5, 0]


async def test_the_window_slides(windows: Windows, clock: Clock) -> None:
    assert await admitted(windows, MINUTE, times=6) == 5
    clock.now += 60
    # All of the previous minute still lies within the last 60 seconds.
    refused = await windows.admit("key", [MINUTE])
    assert not refused.admitted
    assert refused.tightest.retry_after == pytest.approx(12)
    clock.now += 12
    assert await admitted(windows, MINUTE, times=9) == 1
    clock.now += 36
    assert await admitted(windows, MINUTE, times=9) == 3


async def test_retry_after_is_when_it_is_admitted_again(windows: Windows, clock: Clock) -> None:
    clock.now += 17
    assert await admitted(windows, MINUTE, times=6) == 5
    refused = (await windows.admit("key", [MINUTE])).tightest
    clock.now += refused.retry_after - 0.01
    assert not (await windows.admit("key", [MINUTE])).admitted
    clock.now += 0.02
    assert (await windows.admit("key", [MINUTE])).admitted


async def test_costs_and_what_never_fits(windows: Windows) -> None:
    assert (await windows.admit("key", [MINUTE], 4)).admitted
    decision = await windows.admit("key", [MINUTE], 2)
    assert (decision.admitted, decision.tightest.remaining) == (False, 1)
    assert (await windows.admit("key", [MINUTE], 1)).admitted
    assert math.isinf((await windows.admit("key", [MINUTE], 6)).tightest.retry_after)


async def test_another_limit_does_not_forget_what_was_used(windows: Windows) -> None:
    assert await admitted(windows, MINUTE, times=5) == 5
    assert not (await windows.admit("key", [Window("minute", 4, 60)])).admitted
    assert (await windows.admit("key", [Window("minute", 6, 60)])).admitted


async def test_clearing(windows: Windows) -> None:
    assert await admitted(windows, MINUTE, times=5) == 5
    await windows.clear("key")
    assert await admitted(windows, MINUTE, times=6) == 5


@pytest.mark.parametrize("jump", [-1, -61, -3600, -86_400])
async def test_a_clock_that_goes_back_gives_nothing_and_locks_nobody_out(
    windows: Windows, clock: Clock, jump: float
) -> None:
    assert await admitted(windows, MINUTE, times=5) == 5
    clock.now += jump
    assert not (await windows.admit("key", [MINUTE])).admitted
    clock.now += 121
    assert await admitted(windows, MINUTE, times=9) == 5


async def test_a_clock_that_leaps_ahead_starts_afresh(windows: Windows, clock: Clock) -> None:
    assert await admitted(windows, MINUTE, times=5) == 5
    clock.now += 1e8
    assert await admitted(windows, MINUTE, times=9) == 5


STEPS = st.lists(
    st.tuples(st.integers(-90_000, 90_000), st.integers(1, 3)), min_size=1, max_size=30
)


@pytest.mark.redis
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=STEPS)
def test_both_homes_decide_alike(
    steps: list[tuple[int, int]], servers: Callable[[str], RedisServer]
) -> None:
    """Whatever the clock does; ``steps`` are milliseconds it moves by, and costs."""

    async def run() -> None:
        clock = Clock()
        redis = RedisHome(parse(servers("redis").url), prefix=f"differential-{id(clock)}")
        redis.time = clock
        homes: list[Windows] = [MemoryWindows(clock=clock), RedisWindows(redis)]
        try:
            for windows in homes:
                await windows.clear("key")
            for milliseconds, cost in steps:
                clock.now = round(clock.now + milliseconds / 1000, 3)
                memory, shared = [
                    await windows.admit("key", [MINUTE, DAY], cost) for windows in homes
                ]
                assert memory.admitted == shared.admitted
                for one, other in zip(memory.standings, shared.standings, strict=True):
                    assert one.used == pytest.approx(other.used, abs=1e-3)
                    assert one.retry_after == pytest.approx(other.retry_after, abs=1e-2)
        finally:
            await redis.close()

    asyncio.run(run())


def test_memory_forgets_what_counts_no_more() -> None:
    async def run(clock: Callable[[], float]) -> int:
        windows = MemoryWindows(clock=clock)
        for number in range(4096 + 1):
            await windows.admit(f"key {number}", [MINUTE])
        return len(windows)

    ticks = iter(range(10_000_000))
    assert asyncio.run(run(lambda: next(ticks))) < 200
