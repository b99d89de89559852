"""One SQLite file for everything that must outlive a restart.

One connection in one thread: SQLite serialises writers anyway, and the event loop never waits for
a disk. Write-ahead logging lets another process read and write at the same time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from filelock import FileLock, Timeout

from guards.errors import StoreUnavailable

T = TypeVar("T")

_BUSY_SECONDS: Final = 10.0

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
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
    ),
    (
        # Limits of their own, rotation with an overlap, and scopes for each kind of work: what a
        # key could do before there were any, it still can.
        "ALTER TABLE api_keys ADD COLUMN limits TEXT NOT NULL DEFAULT '{}'",
        "ALTER TABLE api_keys ADD COLUMN previous_digest BLOB",
        "ALTER TABLE api_keys ADD COLUMN previous_until REAL",
        "CREATE UNIQUE INDEX api_keys_previous ON api_keys (previous_digest)",
        "UPDATE api_keys SET scopes = trim(scopes || ' stream transcribe translate')",
    ),
    (
        """
        CREATE TABLE audit_log (
            id         INTEGER PRIMARY KEY AUTOINCREMENT,
            at         REAL NOT NULL,
            key_id     TEXT NOT NULL,
            user_id    TEXT NOT NULL,
            action     TEXT NOT NULL,
            target     TEXT NOT NULL,
            outcome    TEXT NOT NULL,
            details    TEXT NOT NULL,
            request_id TEXT NOT NULL,
            address    TEXT NOT NULL
        ) STRICT
        """,
        """
        CREATE TRIGGER audit_log_unchanged BEFORE UPDATE ON audit_log
        BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END
        """,
        """
        CREATE TRIGGER audit_log_kept BEFORE DELETE ON audit_log
        BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END
        """,
    ),
    (
        """
        CREATE TABLE usage (
            key_id     TEXT NOT NULL,
            day        TEXT NOT NULL,
            user_id    TEXT NOT NULL,
            audio_ms   INTEGER NOT NULL,
            characters INTEGER NOT NULL,
            requests   INTEGER NOT NULL,
            PRIMARY KEY (key_id, day)
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX usage_by_day ON usage (day)",
        # The charges that are in `usage`, so that none is booked twice.
        """
        CREATE TABLE settled (
            id         TEXT PRIMARY KEY,
            at         REAL NOT NULL,
            audio_ms   INTEGER NOT NULL,
            characters INTEGER NOT NULL,
            requests   INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX settled_by_age ON settled (at)",
        # The charges that wait until the shared store is back.
        """
        CREATE TABLE pending (
            id         TEXT PRIMARY KEY,
            key_id     TEXT NOT NULL,
            user_id    TEXT NOT NULL,
            day        TEXT NOT NULL,
            audio_ms   INTEGER NOT NULL,
            characters INTEGER NOT NULL,
            requests   INTEGER NOT NULL
        ) STRICT
        """,
    ),
    (
        # Live sessions, for the process after this one to go on with.
        """
        CREATE TABLE resume (
            name       TEXT PRIMARY KEY,
            owner      TEXT NOT NULL,
            epoch      INTEGER NOT NULL,
            state      BLOB NOT NULL,
            last       INTEGER NOT NULL,
            expires_at REAL NOT NULL
        ) STRICT, WITHOUT ROWID
        """,
        "CREATE INDEX resume_by_age ON resume (expires_at)",
        """
        CREATE TABLE resume_events (
            name TEXT NOT NULL,
            seq  INTEGER NOT NULL,
            data BLOB NOT NULL,
            PRIMARY KEY (name, seq)
        ) STRICT, WITHOUT ROWID
        """,
        """
        CREATE TRIGGER resume_forgotten AFTER DELETE ON resume
        BEGIN DELETE FROM resume_events WHERE name = old.name; END
        """,
    ),
)
"""One step per schema version; never edited once released, only added to."""


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
    if done > len(MIGRATIONS):
        raise SchemaTooNew(f"the database has schema {done}, this Surtitle knows {len(MIGRATIONS)}")
    for number, step in enumerate(MIGRATIONS[done:], start=done + 1):
        for statement in step:
            connection.execute(statement)
        connection.execute("INSERT INTO schema_version VALUES (?)", (number,))


class Database:
    """The file. ``open`` it; ``close`` frees thread and file.

    The stores upon it raise ``StoreUnavailable`` when SQLite fails (disk full, locked too long).
    """

    def __init__(self, connection: sqlite3.Connection, executor: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._executor = executor
        self._closed = False

    @classmethod
    async def open(cls, path: Path) -> Database:
        """Open or create the database. Raises ``OSError``, ``sqlite3.Error``, ``SchemaTooNew``."""
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sqlite")
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

    async def execute(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        """Run one statement, which is a transaction of its own, and return its rows."""
        return await self.run(lambda connection: connection.execute(sql, parameters).fetchall())

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work`` on the connection, in its thread.

        Raises ``StoreUnavailable`` when SQLite does, and when the database is closed.
        """
        if self._closed:
            raise StoreUnavailable("The database is closed.")
        try:
            return await self._submit(lambda: work(self._connection))
        except sqlite3.Error as error:
            raise StoreUnavailable("The database does not answer.") from error

    async def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What ``work`` does, all of it or nothing."""

        def call(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            return result

        return await self.run(call)

    async def ping(self) -> None:
        """Raise ``StoreUnavailable`` when the file can't be read."""
        await self.execute("SELECT 1")

    async def close(self) -> None:
        """Idempotent. Calls that are still running end first."""
        if self._closed:
            return
        self._closed = True
        await self._submit(self._connection.close)
        self._executor.shutdown(wait=False)

    async def _submit(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)


def stamp(moment: datetime | None) -> float | None:
    """A moment as it is stored: seconds since the epoch."""
    return None if moment is None else moment.timestamp()


def moment(stamp: float | None) -> datetime | None:
    """A stored moment."""
    return None if stamp is None else datetime.fromtimestamp(stamp, UTC)
