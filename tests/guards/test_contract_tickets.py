"""What holds of tickets in either home."""

from __future__ import annotations

import asyncio

import pytest

from guards.errors import InvalidCredential, TooManyTickets
from guards.principal import Principal, Tier
from guards.redis.client import RedisHome
from guards.redis.tickets import RedisTickets
from guards.tickets import MemoryTickets, Tickets
from tests.clock import Clock


def principal(key_id: str = "key_1") -> Principal:
    return Principal(key_id=key_id, user_id="ana", tier=Tier.FREE, scopes=frozenset({"admin"}))


@pytest.fixture
def tickets(redis: RedisHome | None, clock: Clock) -> Tickets:
    if redis is None:
        return MemoryTickets(lifetime=60, limit_per_key=2, clock=clock)
    redis.time = clock
    return RedisTickets(redis, lifetime=60, limit_per_key=2)


async def test_a_ticket_is_good_once(tickets: Tickets) -> None:
    ticket = await tickets.issue(principal())
    assert await tickets.take(ticket) == principal()
    with pytest.raises(InvalidCredential):
        await tickets.take(ticket)


async def test_of_many_who_try_one_succeeds(tickets: Tickets) -> None:
    ticket = await tickets.issue(principal())
    taken = await asyncio.gather(*(tickets.take(ticket) for _ in range(20)), return_exceptions=True)
    assert sum(isinstance(found, Principal) for found in taken) == 1
    assert sum(isinstance(found, InvalidCredential) for found in taken) == 19


async def test_a_ticket_is_no_other(tickets: Tickets) -> None:
    await tickets.issue(principal())
    with pytest.raises(InvalidCredential):
        await tickets.take("tk_guess")


async def test_one_key_can_fill_only_its_own_share(tickets: Tickets, clock: Clock) -> None:
    first = await tickets.issue(principal())
    clock.now += 20
    await tickets.issue(principal())
    with pytest.raises(TooManyTickets) as caught:
        await tickets.issue(principal())
    assert caught.value.retry_after == pytest.approx(40, abs=0.01)
    await tickets.issue(principal("key_2"))
    await tickets.take(first)
    await tickets.issue(principal())
    clock.now += 61
    await tickets.issue(principal())


async def test_memory_tickets_expire() -> None:
    clock = Clock()
    tickets = MemoryTickets(lifetime=60, clock=clock)
    early, ticket = await tickets.issue(principal()), await tickets.issue(principal())
    clock.now += 59.9
    assert await tickets.take(early) == principal()
    clock.now += 0.1
    with pytest.raises(InvalidCredential):
        await tickets.take(ticket)
    assert len(tickets) == 0


@pytest.mark.redis
@pytest.mark.parametrize("redis", ["redis"], indirect=True)
async def test_redis_tickets_expire_and_are_nowhere_in_clear(redis: RedisHome) -> None:
    tickets = RedisTickets(redis, lifetime=60)
    ticket = await tickets.issue(principal())
    keys = [key async for key in redis.client.scan_iter(match=f"{redis.prefix}:*")]
    assert len(keys) == 2
    for key in keys:
        assert 0 < await redis.client.pttl(key) <= 60_000
        dumped = key + await redis.client.dump(key)
        assert ticket.removeprefix("tk_").encode() not in dumped
    brief = RedisTickets(redis, lifetime=0.001)
    gone = await brief.issue(principal())
    while await redis.client.exists(brief._key(gone)):  # noqa: ASYNC110 - Redis tells nobody
        await asyncio.sleep(0.001)
    with pytest.raises(InvalidCredential):
        await brief.take(gone)


async def test_all_tickets_together_are_bounded_in_memory_and_issued_ones_stay_good() -> None:
    clock = Clock()
    tickets = MemoryTickets(lifetime=60, limit=3, clock=clock)
    issued = [await tickets.issue(principal(f"key_{number}")) for number in range(3)]
    with pytest.raises(TooManyTickets) as caught:
        await tickets.issue(principal("key_9"))
    assert caught.value.retry_after == 60
    assert (await tickets.take(issued[0])).key_id == "key_0"
    clock.now += 60
    for number in range(3):
        await tickets.issue(principal(f"key_{number}"))
