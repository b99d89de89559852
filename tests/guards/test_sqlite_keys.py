from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest

from guards.errors import StoreUnavailable
from guards.sqlite_keys import SchemaTooNew, SqliteKeyStore
from tests.guards.test_contract_keys import AT, record


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
