"""What holds of kept sessions in each home."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.redis.address import parse
from guards.redis.client import RedisHome
from guards.redis.resume import RedisResumeLog
from guards.resume import MemoryResumeLog, ResumeLog, Update, mint, name_of
from guards.sqlite import Database
from guards.sqlite_resume import SqliteResumeLog
from tests.clock import Clock
from tests.redis_server import KINDS, RedisServer

TTL = 40.0


@pytest.fixture(
    params=["memory", "file", *(pytest.param(kind, marks=pytest.mark.redis) for kind in KINDS)]
)
async def log(
    request: pytest.FixtureRequest,
    servers: Callable[[str], RedisServer],
    clock: Clock,
    tmp_path: Path,
) -> AsyncIterator[ResumeLog]:
    if request.param == "memory":
        yield MemoryResumeLog(clock=clock)
    elif request.param == "file":
        database = await Database.open(tmp_path / "surtitle.db")
        yield SqliteResumeLog(database, clock=clock)
        await database.close()
    else:
        home = RedisHome(parse(servers(request.param).url), prefix=f"test-{secrets.token_hex(4)}")
        yield RedisResumeLog(home)
        await home.close()


@pytest.fixture
def name() -> str:
    return name_of(mint())


def update(name: str, *events: int, epoch: int = 1, first: int = 1, ttl: float = TTL) -> Update:
    """Events that are their own numbers, and a state that is the last of them."""
    return Update(
        name=name,
        epoch=epoch,
        owner="key_1",
        state=b"%d\0\xff" % (events[-1] if events else 0),
        events=[b"%d" % number for number in events],
        next=events[0] if events else 1,
        first=first,
        ttl=ttl,
    )


async def numbers(log: ResumeLog, name: str) -> list[int]:
    kept = await log.claim(name, "key_1", TTL)
    assert kept is not None
    assert [seq for seq, _ in kept.events] == [int(data) for _, data in kept.events]
    assert not kept.events or kept.events[-1][0] == kept.last
    return [seq for seq, _ in kept.events]


async def test_what_was_kept_is_claimed_with_its_numbers(log: ResumeLog, name: str) -> None:
    assert await log.append(update(name, 1, 2, 3))
    assert await log.append(update(name, 4))
    kept = await log.claim(name, "key_1", TTL)
    assert kept is not None
    assert kept.events == [(1, b"1"), (2, b"2"), (3, b"3"), (4, b"4")]
    assert (kept.state, kept.last, kept.epoch) == (b"4\0\xff", 4, 2)


async def test_what_is_given_again_is_kept_once(log: ResumeLog, name: str) -> None:
    assert await log.append(update(name, 1, 2, 3))
    assert await log.append(update(name, 2, 3, 4, 5))
    assert await log.append(update(name, 4, 5))
    assert await numbers(log, name) == [1, 2, 3, 4, 5]


async def test_what_is_not_needed_is_dropped(log: ResumeLog, name: str) -> None:
    assert await log.append(update(name, 1, 2, 3))
    assert await log.append(update(name, 4, 5, first=3))
    assert await numbers(log, name) == [3, 4, 5]
    assert await log.append(update(name, 6, first=9, epoch=2))
    kept = await log.claim(name, "key_1", TTL)
    assert kept is not None
    assert (kept.events, kept.last) == ([], 8)
    assert await log.append(update(name, 9, 10, epoch=3))
    assert await numbers(log, name) == [9, 10]


async def test_after_events_that_were_never_kept_no_older_ones_are(
    log: ResumeLog, name: str
) -> None:
    assert await log.append(update(name, 1, 2))
    assert await log.append(update(name, 7, 8))
    assert await numbers(log, name) == [7, 8]


async def test_of_two_processes_one_has_it(log: ResumeLog, name: str) -> None:
    assert await log.append(update(name, 1))
    claims = await asyncio.gather(*(log.claim(name, "key_1", TTL) for _ in range(5)))
    assert sorted(kept.epoch for kept in claims if kept) == [2, 3, 4, 5, 6]
    for epoch in range(1, 6):
        assert not await log.append(update(name, 2, epoch=epoch))
    assert await log.append(update(name, 2, epoch=6))
    assert await numbers(log, name) == [1, 2]


async def test_others_do_not_find_it(log: ResumeLog, name: str) -> None:
    assert await log.append(update(name, 1))
    assert await log.claim(name, "key_2", TTL) is None
    assert await log.claim(name_of(mint()), "key_1", TTL) is None
    assert await log.append(update(name, 2)), "nobody has claimed it"


async def test_it_is_forgotten(log: ResumeLog, name: str, clock: Clock) -> None:
    brief = 0.05 if isinstance(log, RedisResumeLog) else TTL
    assert await log.append(update(name, 1, 2, ttl=brief))
    if isinstance(log, RedisResumeLog):
        await asyncio.sleep(0.1)  # Redis's own clock
    clock.now += TTL
    assert await log.claim(name, "key_1", TTL) is None
    # Who runs, runs: it is kept from where it is now.
    assert await log.append(update(name, 3, epoch=4))
    assert await numbers(log, name) == [3]


async def test_a_sign_of_life_keeps_it(log: ResumeLog, name: str, clock: Clock) -> None:
    assert await log.append(update(name, 1, 2))
    clock.now += TTL - 1
    assert await log.append(
        Update(name=name, epoch=1, owner="key_1", state=b"s", next=3, first=1, ttl=TTL)
    )
    clock.now += TTL - 1
    kept = await log.claim(name, "key_1", TTL)
    assert kept is not None
    assert (kept.state, kept.last, len(kept.events)) == (b"s", 2, 2)


def test_a_token_can_not_be_guessed_nor_found_by_its_name() -> None:
    tokens = {mint() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) > 40 and token not in name_of(token) for token in tokens)


steps = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=12
)


@given(steps=steps)
@settings(max_examples=60, deadline=None)
def test_memory_and_file_are_the_same(
    steps: list[tuple[int, int, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Appends that overlap, skip and drop, and claims between them."""

    async def run(make: Callable[[Database], ResumeLog]) -> list[object]:
        path = tmp_path_factory.mktemp("log") / f"{secrets.token_hex(4)}.db"
        database = await Database.open(path)
        log, last, epoch = make(database), 0, 1
        seen: list[object] = []
        for count, back, drop, claim in steps:
            start = max(1, last + 1 - back)
            last = max(last, start + count - 1)
            first = max(1, last - 4 + drop)
            given = update("n", *range(start, start + count), epoch=epoch, first=first)
            seen.append(await log.append(given))
            if claim:
                kept = await log.claim("n", "key_1", TTL)
                assert kept is not None
                epoch = kept.epoch
                seen.append(kept)
        await database.close()
        return seen

    memory = asyncio.run(run(lambda _: MemoryResumeLog()))
    assert memory == asyncio.run(run(SqliteResumeLog))
