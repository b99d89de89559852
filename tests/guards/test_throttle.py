from __future__ import annotations

from collections.abc import Sequence

import pytest

from guards.errors import StoreUnavailable, TooManyFailures
from guards.throttle import WindowThrottle
from guards.windows import Decision, MemoryWindows, Window
from tests.clock import Clock


def counting(clock: Clock, per_minute: int, windows: MemoryWindows | None = None) -> WindowThrottle:
    shared = MemoryWindows(clock=clock) if windows is None else windows
    return WindowThrottle(shared, per_minute=per_minute, clock=clock)


async def fail(throttle: WindowThrottle, address: str, times: int) -> None:
    for _ in range(times):
        await throttle.failed(address)


async def test_an_address_is_refused_after_its_share_and_free_again_later(clock: Clock) -> None:
    throttle = counting(clock, 3)
    await fail(throttle, "192.0.2.1", 2)
    await throttle.check("192.0.2.1")
    await throttle.failed("192.0.2.1")
    with pytest.raises(TooManyFailures) as caught:
        await throttle.check("192.0.2.1")
    assert caught.value.retry_after is not None
    assert 1 <= caught.value.retry_after <= 120
    await throttle.check("192.0.2.2")
    clock.now += 121
    await throttle.check("192.0.2.1")


async def test_being_refused_does_not_prolong_it(clock: Clock) -> None:
    throttle = counting(clock, 3)
    await fail(throttle, "192.0.2.1", 50)
    clock.now += 121
    await throttle.check("192.0.2.1")


async def test_it_can_be_forgiven(clock: Clock) -> None:
    throttle = counting(clock, 1)
    await fail(throttle, "192.0.2.1", 1)
    await throttle.reset("192.0.2.1")
    await throttle.check("192.0.2.1")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
async def test_what_counts_as_one_address(clock: Clock, one: str, other: str) -> None:
    throttle = counting(clock, 1)
    await throttle.failed(one)
    with pytest.raises(TooManyFailures):
        await throttle.check(other)
    await throttle.check("2001:db8:1::1")


async def test_servers_that_share_windows_share_the_count(clock: Clock) -> None:
    windows = MemoryWindows(clock=clock)
    one, other = counting(clock, 3, windows), counting(clock, 3, windows)
    await fail(one, "192.0.2.1", 3)
    # The other hears of it with the next wrong credential.
    await other.check("192.0.2.1")
    await other.failed("192.0.2.1")
    with pytest.raises(TooManyFailures):
        await other.check("192.0.2.1")


async def test_memory_is_bounded(clock: Clock) -> None:
    windows = MemoryWindows(capacity=100, clock=clock)
    throttle = counting(clock, 1, windows)
    for number in range(1000):
        await throttle.failed(f"10.0.{number // 250}.{number % 250}")
        assert len(windows) <= 100
    with pytest.raises(TooManyFailures):
        await throttle.check("10.0.3.249")


class _Away:
    async def admit(self, subject: str, windows: Sequence[Window], cost: int = 1) -> Decision:
        raise StoreUnavailable(f"{subject} {windows} {cost}")

    async def clear(self, subject: str) -> None:
        raise StoreUnavailable(subject)


async def test_a_server_counts_by_itself_while_the_windows_are_away(clock: Clock) -> None:
    throttle = WindowThrottle(_Away(), per_minute=3, clock=clock)
    await fail(throttle, "192.0.2.1", 2)
    await throttle.check("192.0.2.1")
    await fail(throttle, "192.0.2.1", 1)
    with pytest.raises(TooManyFailures):
        await throttle.check("192.0.2.1")
