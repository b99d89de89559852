"""Sessions to go on with after a restart, in a SQLite file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from guards.resume import Kept, Update
from guards.sqlite import Database


class SqliteResumeLog:
    """:class:`~guards.resume.ResumeLog` on a database, whose owner closes it.

    ``clock`` gives seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def append(self, update: Update) -> bool:
        return await self._database.transaction(lambda connection: self._append(connection, update))

    async def claim(self, name: str, owner: str, ttl: float) -> Kept | None:
        return await self._database.transaction(
            lambda connection: self._claim(connection, name, owner, ttl)
        )

    def _append(self, connection: sqlite3.Connection, update: Update) -> bool:
        now = self._clock()
        _expire(connection, now)
        held = connection.execute(
            "SELECT epoch, last FROM resume WHERE name = ?", (update.name,)
        ).fetchone()
        epoch, last = held or (update.epoch, update.next - 1)
        if epoch != update.epoch:
            return False
        if update.next > last + 1:
            connection.execute("DELETE FROM resume_events WHERE name = ?", (update.name,))
            last = update.next - 1
        new = [
            (update.name, seq, data)
            for seq, data in enumerate(update.events, update.next)
            if seq > last
        ]
        connection.executemany("INSERT INTO resume_events VALUES (?,?,?)", new)
        connection.execute(
            "DELETE FROM resume_events WHERE name = ? AND seq < ?", (update.name, update.first)
        )
        last = max(last + len(new), update.first - 1)
        connection.execute(
            "INSERT INTO resume VALUES (?,?,?,?,?,?) ON CONFLICT (name) DO UPDATE SET "
            "state = excluded.state, last = excluded.last, expires_at = excluded.expires_at",
            (update.name, update.owner, update.epoch, update.state, last, now + update.ttl),
        )
        return True

    def _claim(
        self, connection: sqlite3.Connection, name: str, owner: str, ttl: float
    ) -> Kept | None:
        now = self._clock()
        _expire(connection, now)
        held = connection.execute(
            "UPDATE resume SET epoch = epoch + 1, expires_at = ? WHERE name = ? AND owner = ? "
            "RETURNING epoch, state, last",
            (now + ttl, name, owner),
        ).fetchone()
        if held is None:
            return None
        epoch, state, last = held
        events = connection.execute(
            "SELECT seq, data FROM resume_events WHERE name = ? ORDER BY seq", (name,)
        ).fetchall()
        return Kept(epoch, state, last, events)


def _expire(connection: sqlite3.Connection, now: float) -> None:
    connection.execute("DELETE FROM resume WHERE expires_at <= ?", (now,))
