"""A SQLite file used from an event loop.

One connection in one thread: SQLite serialises writers anyway, and the event loop never waits for
a disk. Write-ahead logging lets another process read and write at the same time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from filelock import FileLock, Timeout

from guards.errors import StoreUnavailable

T = TypeVar("T")

_BUSY_SECONDS: Final = 10.0


class SchemaTooNew(RuntimeError):
    """The file was written by a newer Surtitle."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Bring a database to the current schema, in one transaction.

    ``migrations`` is one statement per schema version; never edited once released, only added to.
    Raises :class:`SchemaTooNew` rather than guess at a schema of the future.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        _advance(connection, migrations)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _advance(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    (version,) = connection.execute("SELECT max(version) FROM schema_version").fetchone()
    done = version or 0
    if done > len(migrations):
        raise SchemaTooNew(f"the database has schema {done}, this Surtitle knows {len(migrations)}")
    for number, step in enumerate(migrations[done:], start=done + 1):
        connection.execute(step)
        connection.execute("INSERT INTO schema_version VALUES (?)", (number,))


class Database:
    """A file and the thread that works on it. ``open`` it; ``close`` frees both.

    What SQLite raises becomes ``StoreUnavailable``.
    """

    def __init__(self, connection: sqlite3.Connection, executor: ThreadPoolExecutor) -> None:
        self._connection = connection
        self._executor = executor
        self._closed = False

    @classmethod
    async def open(cls, path: Path, migrations: Sequence[str]) -> Self:
        """Open or create the database. Raises ``OSError``, ``sqlite3.Error``, ``SchemaTooNew``."""
        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=path.stem)
        loop = asyncio.get_running_loop()
        try:
            connection = await loop.run_in_executor(executor, _connect, path, migrations)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(connection, executor)

    async def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """One statement; its rows."""
        return await self._do(
            lambda connection: connection.execute(sql, tuple(parameters)).fetchall()
        )

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

        return await self._do(call)

    async def close(self) -> None:
        """Idempotent. Calls that are still running end first."""
        if self._closed:
            return
        self._closed = True
        await self._submit(self._connection.close)
        self._executor.shutdown(wait=False)

    async def _do(self, call: Callable[[sqlite3.Connection], T]) -> T:
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        try:
            return await self._submit(lambda: call(self._connection))
        except sqlite3.Error as error:
            raise StoreUnavailable("The store does not answer.") from error

    async def _submit(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, call)


def _connect(path: Path, migrations: Sequence[str]) -> sqlite3.Connection:
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
            migrate(connection, migrations)
        connection.execute("PRAGMA synchronous = NORMAL")
    except Timeout as error:
        connection.close()
        raise sqlite3.OperationalError("another process is opening the database") from error
    except BaseException:
        connection.close()
        raise
    return connection
