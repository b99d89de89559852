"""What holds of usage in either home."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.metering import Journal, MemoryJournal
from guards.redis.client import RedisHome
from guards.redis.usage import RedisUsage
from guards.sqlite import Database
from guards.sqlite_usage import SqliteJournal, SqliteUsage
from guards.usage import Amount, Charge, DayUsage, Quota, UsageStore, grant, today, until_tomorrow

DAY = date(2026, 11, 25)
TOMORROW = date(2026, 11, 26)


@pytest.fixture
def usage(redis: RedisHome | None, database: Database) -> UsageStore:
    return SqliteUsage(database) if redis is None else RedisUsage(redis)


def charge(audio_ms: int = 0, characters: int = 0, requests: int = 0, **fields: object) -> Charge:
    base: dict[str, object] = {"key_id": "key_1", "user_id": "ana", "day": DAY}
    return Charge(**{**base, **fields}, amount=Amount(audio_ms, characters, requests))  # type: ignore[arg-type]  # the fields a test names


async def test_charges_add_up(usage: UsageStore) -> None:
    await usage.book(charge(1000, 10, 1))
    receipt = await usage.book(charge(500, 5, 1))
    assert receipt.granted == Amount(500, 5, 1)
    assert receipt.total == Amount(1500, 15, 2)
    assert await usage.total("key_1", DAY) == Amount(1500, 15, 2)
    assert await usage.total("key_1", TOMORROW) == Amount()
    assert await usage.total("key_2", DAY) == Amount()


async def test_a_charge_counts_once_however_often_it_is_sent(usage: UsageStore) -> None:
    once = charge(1000, 10, 1)
    receipts = await asyncio.gather(*(usage.book(once) for _ in range(20)))
    assert {receipt.granted for receipt in receipts} == {Amount(1000, 10, 1)}
    assert await usage.total("key_1", DAY) == Amount(1000, 10, 1)


async def test_a_grant_in_part_is_the_same_when_asked_again(usage: UsageStore) -> None:
    part = charge(1000)
    quota = Quota(audio_ms=400)
    assert (await usage.book(part, quota, whole=False)).granted == Amount(400)
    assert (await usage.book(part, quota, whole=False)).granted == Amount(400)
    assert await usage.total("key_1", DAY) == Amount(400)


async def test_the_quota_is_exact_for_all_who_ask_at_once(usage: UsageStore) -> None:
    quota = Quota(audio_ms=10_500)
    receipts = await asyncio.gather(
        *(usage.book(charge(1000), quota, whole=False) for _ in range(30))
    )
    granted = sorted(receipt.granted.audio_ms for receipt in receipts)
    assert granted == [0] * 19 + [500] + [1000] * 10
    assert (await usage.total("key_1", DAY)).audio_ms == 10_500


async def test_charges_of_many_keys_at_once_are_kept_apart(usage: UsageStore) -> None:
    charges = [
        charge(100 + number, number, 1, key_id=f"key_{number % 7}", day=(DAY, TOMORROW)[number % 2])
        for number in range(300)
    ]
    receipts = await asyncio.gather(*(usage.book(one) for one in charges))
    assert all(
        receipt.granted == one.amount for one, receipt in zip(charges, receipts, strict=True)
    )
    for key in range(7):
        for day in (DAY, TOMORROW):
            mine = [one.amount for one in charges if (one.key_id, one.day) == (f"key_{key}", day)]
            assert await usage.total(f"key_{key}", day) == sum(mine, Amount())


async def test_the_whole_or_nothing(usage: UsageStore) -> None:
    quota = Quota(audio_ms=1000, characters=100)
    assert (await usage.book(charge(0, 60, 1), quota)).granted == Amount(0, 60, 1)
    refused = await usage.book(charge(0, 41, 1), quota)
    assert (refused.granted, refused.total) == (Amount(), Amount(0, 60, 1))
    assert (await usage.book(charge(0, 40, 1), quota)).granted == Amount(0, 40, 1)
    assert (await usage.book(charge(1001, 0, 1), quota)).granted == Amount()
    assert (await usage.book(charge(1000, 0, 1), quota)).granted == Amount(1000, 0, 1)


async def test_what_was_not_used_is_given_back(usage: UsageStore) -> None:
    await usage.book(charge(5000))
    await usage.book(charge(-3200))
    assert (await usage.total("key_1", DAY)).audio_ms == 1800


async def test_what_was_spent_is_booked_over_the_quota(usage: UsageStore) -> None:
    await usage.book(charge(1000, 10))
    receipt = await usage.book(charge(1000, 200), Quota(audio_ms=1000, characters=100), whole=False)
    assert (receipt.granted, receipt.total) == (Amount(0, 200), Amount(1000, 210))


async def test_reports(usage: UsageStore) -> None:
    await usage.book(charge(1, 2, 3))
    await usage.book(charge(4, 5, 6, key_id="key_2", user_id="bob"))
    await usage.book(charge(7, 8, 9, day=TOMORROW))
    ana = DayUsage(DAY, "key_1", "ana", Amount(1, 2, 3))
    bob = DayUsage(DAY, "key_2", "bob", Amount(4, 5, 6))
    later = DayUsage(TOMORROW, "key_1", "ana", Amount(7, 8, 9))
    assert await usage.report(DAY, TOMORROW) == [ana, bob, later]
    assert await usage.report(DAY, DAY) == [ana, bob]
    assert await usage.report(DAY, TOMORROW, ["key_1", "key_9"]) == [ana, later]
    assert await usage.report(DAY, TOMORROW, []) == []


async def test_many_charges_at_once_take_few_transactions(database: Database) -> None:
    """Each costs the database's thread waits for the interpreter, beside a busy event loop."""
    begun = 0
    transaction = database.transaction

    async def counted(work: Callable[[sqlite3.Connection], Any]) -> Any:
        nonlocal begun
        begun += 1
        return await transaction(work)

    database.transaction = counted  # type: ignore[method-assign]  # to count
    store = SqliteUsage(database)
    await asyncio.gather(*(store.book(charge(10)) for _ in range(400)))
    assert begun <= 3
    assert await store.total("key_1", DAY) == Amount(4000)


async def test_who_leaves_takes_nobody_elses_answer_along(database: Database) -> None:
    store = SqliteUsage(database)
    leaving = asyncio.create_task(store.book(charge(10)))
    staying = asyncio.create_task(store.book(charge(20)))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).granted == Amount(20)
    assert await store.total("key_1", DAY) == Amount(30), "it was asked for, and is booked"


async def test_usage_outlives_the_process(tmp_path: Path) -> None:
    first = await Database.open(tmp_path / "surtitle.db")
    await SqliteUsage(first).book(charge(1000))
    await first.close()
    second = await Database.open(tmp_path / "surtitle.db")
    assert (await SqliteUsage(second).total("key_1", DAY)).audio_ms == 1000
    await second.close()


async def test_what_is_settled_is_forgotten_in_time(database: Database) -> None:
    now = [1_700_000_000.0]
    store = SqliteUsage(database, clock=lambda: now[0])
    old = charge(1)
    await store.book(old)
    now[0] += 8 * 86_400
    for _ in range(999):
        await store.book(charge(1))
    await store.book(old)
    assert (await store.total("key_1", DAY)).audio_ms == 1001


@pytest.mark.parametrize("lasting", [True, False])
async def test_a_journal_keeps_order_and_each_charge_once(
    database: Database, lasting: bool
) -> None:
    journal: Journal = SqliteJournal(database) if lasting else MemoryJournal()
    charges = [charge(number, key_id=f"key_{9 - number}") for number in range(1, 6)]
    for one in [*charges, charges[0]]:
        await journal.append(one)
    assert await journal.oldest(3) == charges[:3]
    assert await journal.size() == len(charges)
    await journal.discard(one.id for one in charges[:4])
    assert await journal.oldest(3) == charges[4:]
    assert await journal.size() == len(charges) - 4


async def test_the_lasting_journal_outlives_the_process(tmp_path: Path) -> None:
    first = await Database.open(tmp_path / "surtitle.db")
    kept = charge(1)
    await SqliteJournal(first).append(kept)
    await first.close()
    second = await Database.open(tmp_path / "surtitle.db")
    assert await SqliteJournal(second).oldest(9) == [kept]
    await second.close()


amounts = st.builds(Amount, st.integers(0, 100), st.integers(0, 100), st.integers(0, 2))
quotas = st.builds(Quota, st.none() | st.integers(0, 150), st.none() | st.integers(0, 150))


@given(asked=amounts, used=amounts, quota=quotas, whole=st.booleans())
def test_a_grant_never_leads_over_the_quota(
    asked: Amount, used: Amount, quota: Quota, whole: bool
) -> None:
    granted = grant(asked, used, quota, whole=whole)
    assert 0 <= granted.audio_ms <= asked.audio_ms
    if quota.audio_ms is not None and granted.audio_ms:
        assert used.audio_ms + granted.audio_ms <= quota.audio_ms
    if whole:
        assert granted in (asked, Amount())
        if quota.characters is not None and granted.characters:
            assert used.characters + granted.characters <= quota.characters


def test_days_are_those_of_utc() -> None:
    just_before = 1_795_564_799.0  # 2026-11-24T23:59:59Z
    assert today(just_before) == date(2026, 11, 24)
    assert until_tomorrow(just_before) == 1
    assert today(just_before + 1) == DAY
    assert until_tomorrow(just_before + 1) == 86_400
