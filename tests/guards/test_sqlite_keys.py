from __future__ import annotations

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guards.errors import StoreUnavailable
from guards.keys import KeyRecord, KeyStore
from guards.principal import Tier
from guards.sqlite_keys import SchemaTooNew, SqliteKeyStore

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
async def store(tmp_path: Path) -> AsyncIterator[KeyStore]:
    opened = await SqliteKeyStore.open(tmp_path / "surtitle.db")
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


async def test_two_processes_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "surtitle.db"
    server, cli = await asyncio.gather(SqliteKeyStore.open(path), SqliteKeyStore.open(path))
    await asyncio.gather(*(cli.put(record(number)) for number in range(1, 30)))
    assert len(await server.listing()) == 29
    await server.revoke("key_3", AT)
    assert (await cli.get(["key_3"]))["key_3"].revoked_at == AT
    await server.close()
    await cli.close()


async def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    for attempt in range(10):
        path = tmp_path / f"{attempt}.db"
        stores = await asyncio.gather(*(SqliteKeyStore.open(path) for _ in range(8)))
        for store in stores:
            await store.close()


async def test_the_file_outlives_the_store_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "surtitle.db"
    first = await SqliteKeyStore.open(path)
    await first.put(record())
    await first.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = await SqliteKeyStore.open(path)
    assert await second.listing() == [record()]
    await second.close()


async def test_a_database_of_the_future_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "surtitle.db"
    await (await SqliteKeyStore.open(path)).close()
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("INSERT INTO schema_version VALUES (99)")
    connection.close()
    with pytest.raises(SchemaTooNew, match="99"):
        await SqliteKeyStore.open(path)


async def test_what_sqlite_raises_becomes_store_unavailable(tmp_path: Path) -> None:
    store = await SqliteKeyStore.open(tmp_path / "surtitle.db")
    connection = sqlite3.connect(tmp_path / "surtitle.db")
    with connection:
        connection.execute("DROP TABLE api_keys")
    connection.close()
    with pytest.raises(StoreUnavailable):
        await store.listing()
    await store.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = await SqliteKeyStore.open(tmp_path / "surtitle.db")
    await store.close()
    await store.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.ping()
