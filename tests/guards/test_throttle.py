from __future__ import annotations

import time

import pytest
from limits.errors import StorageError

from guards import throttle as module
from guards.errors import TooManyFailures
from guards.throttle import BoundedMemory, WindowThrottle

START = 1_800_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "time", clock)  # `limits` takes no clock
    return clock


async def fail(throttle: WindowThrottle, address: str, times: int) -> None:
    for _ in range(times):
        await throttle.failed(address)


async def test_an_address_is_refused_after_its_share_and_free_again_later(clock: Clock) -> None:
    throttle = WindowThrottle(BoundedMemory(), per_minute=3)
    await fail(throttle, "192.0.2.1", 2)
    await throttle.check("192.0.2.1")
    await throttle.failed("192.0.2.1")
    with pytest.raises(TooManyFailures) as caught:
        await throttle.check("192.0.2.1")
    assert caught.value.retry_after is not None
    assert 1 <= caught.value.retry_after <= 60
    await throttle.check("192.0.2.2")
    clock.now += 121
    await throttle.check("192.0.2.1")


async def test_being_refused_does_not_prolong_it(clock: Clock) -> None:
    throttle = WindowThrottle(BoundedMemory(), per_minute=3)
    await fail(throttle, "192.0.2.1", 50)
    clock.now += 121
    await throttle.check("192.0.2.1")


async def test_it_can_be_forgiven(clock: Clock) -> None:
    throttle = WindowThrottle(BoundedMemory(), per_minute=1)
    await fail(throttle, "192.0.2.1", 1)
    await throttle.reset("192.0.2.1")
    await throttle.check("192.0.2.1")
    assert clock.now == START


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("2001:db8::1", "2001:db8::ffff:1"),
        ("192.0.2.1", "::ffff:192.0.2.1"),
        ("", ""),
        ("a socket", "a socket"),
    ],
)
async def test_what_counts_as_one_address(one: str, other: str) -> None:
    throttle = WindowThrottle(BoundedMemory(), per_minute=1)
    await throttle.failed(one)
    with pytest.raises(TooManyFailures):
        await throttle.check(other)
    await throttle.check("2001:db8:1::1")


async def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMEMBERED", 100)
    storage = BoundedMemory()
    throttle = WindowThrottle(storage, per_minute=1)
    for number in range(1000):
        await throttle.failed(f"10.0.{number // 250}.{number % 250}")
        assert len(storage.storage) <= 100
    with pytest.raises(TooManyFailures):
        await throttle.check("10.0.3.249")


async def test_a_storage_that_is_away_turns_nobody_away(monkeypatch: pytest.MonkeyPatch) -> None:
    storage = BoundedMemory()

    async def away(*_: object) -> object:
        raise StorageError(OSError("away"))

    monkeypatch.setattr(storage, "get_sliding_window", away)
    monkeypatch.setattr(storage, "acquire_sliding_window_entry", away)
    throttle = WindowThrottle(storage, per_minute=1)
    await fail(throttle, "192.0.2.1", 3)
    await throttle.check("192.0.2.1")
