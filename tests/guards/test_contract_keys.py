"""What holds of key stores in either home."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from guards.keys import KeyRecord, KeyStore
from guards.principal import Tier
from guards.redis.client import RedisHome
from guards.redis.keys import RedisKeyStore
from guards.sqlite_keys import SqliteKeyStore

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER = datetime(2026, 2, 3, tzinfo=UTC)


def record(number: int = 1, **changes: object) -> KeyRecord:
    base = KeyRecord(
        key_id=f"key_{number}",
        digest=bytes([number]) * 32,
        hint="…abcd",
        user_id="ana",
        tier=Tier.PRO,
        scopes=frozenset({"admin"}),
        name="conference",
        created_at=AT,
        expires_at=LATER,
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # the fields a test names


@pytest.fixture
async def store(redis: RedisHome | None, tmp_path: Path) -> AsyncIterator[KeyStore]:
    opened: KeyStore
    if redis is None:
        opened = await SqliteKeyStore.open(tmp_path / "surtitle.db")
    else:
        opened = RedisKeyStore(redis)
    yield opened
    await opened.close()


async def test_a_record_comes_back_as_it_was(store: KeyStore) -> None:
    await store.put(record())
    assert await store.find(b"\x01" * 32) == record()
    assert await store.get(["key_1", "key_9"]) == {"key_1": record()}
    assert await store.find(b"\x09" * 32) is None


async def test_putting_again_replaces(store: KeyStore) -> None:
    await store.put(record())
    await store.put(record(digest=b"\x07" * 32, tier=Tier.FREE, scopes=frozenset()))
    assert await store.find(b"\x01" * 32) is None
    found = await store.find(b"\x07" * 32)
    assert found is not None
    assert found.tier is Tier.FREE
    assert found.scopes == frozenset()
    assert len(await store.listing()) == 1


async def test_the_listing_is_oldest_first(store: KeyStore) -> None:
    await store.put(record(1, created_at=LATER))
    await store.put(record(2))
    assert [one.key_id for one in await store.listing()] == ["key_2", "key_1"]


async def test_revoking_keeps_the_first_time(store: KeyStore) -> None:
    await store.put(record())
    assert await store.revoke("key_1", AT)
    assert await store.revoke("key_1", LATER)
    assert (await store.get(["key_1"]))["key_1"].revoked_at == AT
    assert not await store.revoke("key_9", AT)


async def test_the_last_use_never_goes_back(store: KeyStore) -> None:
    await store.put(record())
    await store.touch("key_1", LATER)
    await store.touch("key_1", AT)
    assert (await store.get(["key_1"]))["key_1"].last_used_at == LATER


async def test_changes_at_once_all_count(store: KeyStore) -> None:
    await store.put(record())
    moments = [AT + timedelta(seconds=number) for number in range(10)]
    await asyncio.gather(*(store.touch("key_1", at) for at in moments), store.revoke("key_1", AT))
    found = (await store.get(["key_1"]))["key_1"]
    assert (found.last_used_at, found.revoked_at) == (moments[-1], AT)


async def test_nothing_is_asked_about_no_key(store: KeyStore) -> None:
    assert await store.get([]) == {}
    await store.touch("key_9", AT)
    assert await store.listing() == []
    await store.ping()
