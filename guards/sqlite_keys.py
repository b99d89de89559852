"""API keys in a SQLite file, shared by the server and the command line.

Every method raises ``StoreUnavailable`` when SQLite does (disk full, locked for too long).

One connection in one thread: SQLite serialises writers anyway, and the event loop never waits for
a disk. Write-ahead logging lets another process read and write at the same time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from filelock import FileLock, Timeout

from guards.errors import StoreUnavailable
from guards.keys import KeyRecord
from guards.principal import Tier

T = TypeVar("T")

_BUSY_SECONDS: Final = 10.0

_MIGRATIONS: Final = (
    """
    CREATE TABLE api_keys (
        key_id       TEXT PRIMARY KEY,
        digest       BLOB NOT NULL UNIQUE,
        hint         TEXT NOT NULL,
        user_id      TEXT NOT NULL,
        tier         TEXT NOT NULL,
        scopes       TEXT NOT NULL,
        name         TEXT NOT NULL,
        created_at   REAL NOT NULL,
        expires_at   REAL,
        revoked_at   REAL,
        last_used_at REAL
    ) STRICT
    """,
)
"""One step per schema version; never edited once released, only added to."""

_COLUMNS: Final = (
    "key_id, digest, hint, user_id, tier, scopes, name, "
    "created_at, expires_at, revoked_at, last_used_at"
)


class SchemaTooNew(RuntimeError):
    """The file was written by a newer Surtitle."""


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to the current schema, in one transaction.

    Raises :class:`SchemaTooNew` rather than guess at a schema of the future.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        _advance(connection)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _advance(connection: sqlite3.Connection) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    (version,) = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    done = version or 0
    if done > len(_MIGRATIONS):
        raise SchemaTooNew(
            f"the key database has schema {done}, this Surtitle knows {len(_MIGRATIONS)}"
        )
    for number, step in enumerate(_MIGRATIONS[done:], start=done + 1):
        connection.execute(step)
        connection.execute("INSERT INTO schema_version VALUES (?)", (number,))


class SqliteKeyStore:
    """:class:`~guards.keys.KeyStore` on a file. ``open`` it; ``close`` frees thread and file."""

    def __init__(self, connection: sqlite3.Connection, executor: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._executor = executor
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> SqliteKeyStore:
        """Open or create the database. Raises ``OSError``, ``sqlite3.Error``, ``SchemaTooNew``."""
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keys")
        loop = asyncio.get_running_loop()
        try:
            connection = await loop.run_in_executor(executor, cls._connect, path)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(connection, executor)

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # The file must not be readable by others for even a moment.
        path.touch(mode=0o600, exist_ok=True)
        # isolation_level=None: transactions are ours to begin and end, not the module's to guess.
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            # SQLite doesn't wait for its own lock when it changes the journal mode: of two
            # processes that open a new file at once, one would be told that it is locked.
            with FileLock(path.with_name(path.name + ".lock"), timeout=_BUSY_SECONDS, mode=0o600):
                connection.execute("PRAGMA journal_mode = WAL")
                migrate(connection)
            connection.execute("PRAGMA synchronous = NORMAL")
        except Timeout as error:
            connection.close()
            raise sqlite3.OperationalError("another process is opening the database") from error
        except BaseException:
            connection.close()
            raise
        return connection

    async def put(self, record: KeyRecord) -> None:
        await self._run(
            f"INSERT INTO api_keys ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?) "  # noqa: S608 - constant columns
            "ON CONFLICT (key_id) DO UPDATE SET digest=excluded.digest, hint=excluded.hint, "
            "user_id=excluded.user_id, tier=excluded.tier, scopes=excluded.scopes, "
            "name=excluded.name, created_at=excluded.created_at, expires_at=excluded.expires_at, "
            "revoked_at=excluded.revoked_at, last_used_at=excluded.last_used_at",
            (
                record.key_id,
                record.digest,
                record.hint,
                record.user_id,
                record.tier.value,
                " ".join(sorted(record.scopes)),
                record.name,
                record.created_at.timestamp(),
                _stamp(record.expires_at),
                _stamp(record.revoked_at),
                _stamp(record.last_used_at),
            ),
        )

    async def find(self, digest: bytes) -> KeyRecord | None:
        rows = await self._run(f"SELECT {_COLUMNS} FROM api_keys WHERE digest = ?", (digest,))  # noqa: S608 - constant columns
        return _record(rows[0]) if rows else None

    async def get(self, key_ids: Iterable[str]) -> dict[str, KeyRecord]:
        wanted = list(key_ids)
        marks = ",".join("?" * len(wanted))
        rows = await self._run(
            f"SELECT {_COLUMNS} FROM api_keys WHERE key_id IN ({marks})",  # noqa: S608 - only question marks
            tuple(wanted),
        )
        return {row[0]: _record(row) for row in rows}

    async def listing(self) -> list[KeyRecord]:
        rows = await self._run(f"SELECT {_COLUMNS} FROM api_keys ORDER BY created_at, key_id")  # noqa: S608 - constant columns
        return [_record(row) for row in rows]

    async def revoke(self, key_id: str, at: datetime) -> bool:
        rows = await self._run(
            "UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE key_id = ? "
            "RETURNING key_id",
            (at.timestamp(), key_id),
        )
        return bool(rows)

    async def touch(self, key_id: str, at: datetime) -> None:
        await self._run(
            "UPDATE api_keys SET last_used_at = max(coalesce(last_used_at, 0), ?) WHERE key_id = ?",
            (at.timestamp(), key_id),
        )

    async def ping(self) -> None:
        """Raise ``StoreUnavailable`` when the file can't be read."""
        await self._run("SELECT 1")

    async def close(self) -> None:
        """Idempotent. Calls that are still running end first."""
        if self._closed:
            return
        self._closed = True
        await self._submit(self._connection.close)
        self._executor.shutdown(wait=False)

    async def _run(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        if self._closed:
            raise StoreUnavailable("The key store is closed.")

        def call() -> list[Any]:
            return self._connection.execute(sql, parameters).fetchall()

        try:
            return await self._submit(call)
        except sqlite3.Error as error:
            raise StoreUnavailable("The key store does not answer.") from error

    async def _submit(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)


def _stamp(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()


def _moment(stamp: float | None) -> datetime | None:
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)


def _record(row: tuple[Any, ...]) -> KeyRecord:
    return KeyRecord(
        key_id=row[0],
        digest=row[1],
        hint=row[2],
        user_id=row[3],
        tier=Tier(row[4]),
        scopes=frozenset(row[5].split()),
        name=row[6],
        created_at=datetime.fromtimestamp(row[7], UTC),
        expires_at=_moment(row[8]),
        revoked_at=_moment(row[9]),
        last_used_at=_moment(row[10]),
    )
