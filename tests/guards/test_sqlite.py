"""The file: its schema, its processes, its failures. What is stored is in the contract suites."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import stat
from pathlib import Path

import pytest

from guards.audit import AuditEntry
from guards.errors import StoreUnavailable
from guards.principal import ADMIN, WORK
from guards.sqlite import MIGRATIONS, Database, SchemaTooNew
from guards.sqlite_audit import SqliteAuditLog
from guards.sqlite_keys import SqliteKeyStore
from tests.guards.records import AT, record


async def test_two_processes_see_each_other(tmp_path: Path) -> None:
    path = tmp_path / "surtitle.db"
    databases = await asyncio.gather(Database.open(path), Database.open(path))
    server, cli = map(SqliteKeyStore, databases)
    await asyncio.gather(*(cli.put(record(number)) for number in range(1, 30)))
    assert len(await server.listing()) == 29
    await server.revoke("key_3", AT)
    assert (await cli.get(["key_3"]))["key_3"].revoked_at == AT
    for database in databases:
        await database.close()


async def test_a_new_file_may_be_opened_by_many_at_once(tmp_path: Path) -> None:
    for attempt in range(10):
        path = tmp_path / f"{attempt}.db"
        for database in await asyncio.gather(*(Database.open(path) for _ in range(8))):
            await database.close()


async def test_the_file_outlives_the_store_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "surtitle.db"
    first = await Database.open(path)
    await SqliteKeyStore(first).put(record())
    await first.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = await Database.open(path)
    assert await SqliteKeyStore(second).listing() == [record()]
    await second.close()


async def test_a_database_of_the_future_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "surtitle.db"
    await (await Database.open(path)).close()
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO schema_version VALUES (99)")
    with pytest.raises(SchemaTooNew, match="99"):
        await Database.open(path)


async def test_what_was_written_before_scopes_and_rotation_keeps_its_rights(
    tmp_path: Path,
) -> None:
    path = tmp_path / "surtitle.db"
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE schema_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO schema_version VALUES (1)")
        connection.execute(MIGRATIONS[0][0])
        for number, scopes in ((1, ""), (2, "admin")):
            connection.execute(
                "INSERT INTO api_keys VALUES (?, ?, '…', 'a', 'pro', ?, '', 1.0, NULL, NULL, 2.0)",
                (f"key_{number}", bytes([number]) * 32, scopes),
            )
    database = await Database.open(path)
    user, admin = await SqliteKeyStore(database).listing()
    assert user.scopes == WORK
    assert admin.scopes == WORK | {ADMIN}
    assert (user.limits, user.previous_digest, user.previous_until) == ({}, None, None)
    assert user.last_used_at is not None
    await database.close()


async def test_a_migration_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "surtitle.db"
    await (await Database.open(path)).close()
    broken = (*MIGRATIONS, ("CREATE TABLE half (x)", "CREATE NONSENSE"))
    monkeypatch.setattr("guards.sqlite.MIGRATIONS", broken)
    with pytest.raises(sqlite3.OperationalError):
        await Database.open(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    assert "half" not in tables


async def test_what_sqlite_raises_becomes_store_unavailable(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "surtitle.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "surtitle.db")) as connection, connection:
        connection.execute("DROP TABLE api_keys")
    with pytest.raises(StoreUnavailable):
        await SqliteKeyStore(database).listing()
    await database.close()


async def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "surtitle.db")
    await database.close()
    await database.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        await SqliteKeyStore(database).ping()


@pytest.mark.parametrize("change", ["DELETE FROM audit_log", "UPDATE audit_log SET action = 'x'"])
async def test_the_audit_log_refuses_to_be_changed(tmp_path: Path, change: str) -> None:
    database = await Database.open(tmp_path / "surtitle.db")
    audit = SqliteAuditLog(database)
    await audit.append(AuditEntry(at=AT, key_id="k", user_id="u", action="key.create"))
    with pytest.raises(StoreUnavailable) as caught:
        await database.execute(change)
    assert "append-only" in str(caught.value.__cause__)
    assert [entry.action for entry in await audit.page(before=None, limit=9)] == ["key.create"]
    await database.close()
