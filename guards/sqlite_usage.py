"""Usage in a SQLite file, and charges that wait there until the shared store is back."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from typing import Any, Final

from guards.sqlite import Database
from guards.usage import (
    UNBOUNDED,
    Amount,
    Charge,
    DayUsage,
    Quota,
    Receipt,
    grant,
)

_FORGET_EVERY: Final = 1000
"""Charges after which it is seen which of them can be forgotten."""
_SETTLED_SECONDS: Final = 600.0
"""How long a booked charge is remembered. Between a process and its own file no answer is lost."""


class SqliteUsage:
    """:class:`~guards.usage.UsageStore` on a database, whose owner closes it.

    ``clock`` gives seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._booked = 0

    async def book(
        self, charge: Charge, quota: Quota = UNBOUNDED, *, whole: bool = True
    ) -> Receipt:
        self._booked += 1
        forget = self._booked % _FORGET_EVERY == 0

        def work(connection: sqlite3.Connection) -> Receipt:
            if forget:
                horizon = self._clock() - _SETTLED_SECONDS
                connection.execute("DELETE FROM settled WHERE at < ?", (horizon,))
            return self._book(connection, charge, quota, whole=whole)

        return await self._database.transaction(work)

    def _book(
        self, connection: sqlite3.Connection, charge: Charge, quota: Quota, *, whole: bool
    ) -> Receipt:
        used = _total(connection, charge.key_id, charge.day)
        settled = connection.execute(
            "SELECT audio_ms, characters, requests FROM settled WHERE id = ?", (charge.id,)
        ).fetchone()
        if settled is not None:
            return Receipt(Amount(*settled), used)
        granted = grant(charge.amount, used, quota, whole=whole)
        if granted:
            figures = (granted.audio_ms, granted.characters, granted.requests)
            connection.execute(
                "INSERT INTO usage VALUES (?,?,?,?,?,?) ON CONFLICT (key_id, day) DO UPDATE SET "
                "audio_ms = audio_ms + excluded.audio_ms, requests = requests + excluded.requests, "
                "characters = characters + excluded.characters",
                (charge.key_id, charge.day.isoformat(), charge.user_id, *figures),
            )
            connection.execute(
                "INSERT INTO settled VALUES (?,?,?,?,?)", (charge.id, self._clock(), *figures)
            )
        return Receipt(granted, used + granted)

    async def total(self, key_id: str, day: date) -> Amount:
        rows = await self._database.execute(
            "SELECT audio_ms, characters, requests FROM usage WHERE key_id = ? AND day = ?",
            (key_id, day.isoformat()),
        )
        return Amount(*rows[0]) if rows else Amount()

    async def report(
        self, first: date, last: date, key_ids: Sequence[str] | None = None
    ) -> list[DayUsage]:
        sql = (
            "SELECT day, key_id, user_id, audio_ms, characters, requests FROM usage "
            "WHERE day BETWEEN ? AND ?"
        )
        parameters: list[Any] = [first.isoformat(), last.isoformat()]
        if key_ids is not None:
            sql += " AND key_id IN (SELECT value FROM json_each(?))"
            parameters.append(json.dumps(list(key_ids)))
        rows = await self._database.execute(sql + " ORDER BY day, key_id", tuple(parameters))
        return [
            DayUsage(date.fromisoformat(day), key_id, user_id, Amount(*figures))
            for day, key_id, user_id, *figures in rows
        ]


class SqliteJournal:
    """Charges that a store which is away has not confirmed. They outlive a restart."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, charge: Charge) -> None:
        """Keep a charge. Idempotent."""
        amount = charge.amount
        await self._database.execute(
            "INSERT OR IGNORE INTO pending VALUES (?,?,?,?,?,?,?)",
            (
                charge.id,
                charge.key_id,
                charge.user_id,
                charge.day.isoformat(),
                amount.audio_ms,
                amount.characters,
                amount.requests,
            ),
        )

    async def oldest(self, limit: int) -> list[Charge]:
        """The first charges that were kept, at most so many."""
        rows = await self._database.execute(
            "SELECT id, key_id, user_id, day, audio_ms, characters, requests FROM pending "
            "ORDER BY rowid LIMIT ?",
            (limit,),
        )
        return [
            Charge(key_id, user_id, date.fromisoformat(day), Amount(*figures), id)
            for id, key_id, user_id, day, *figures in rows  # noqa: A001 - the column's name
        ]

    async def discard(self, ids: Iterable[str]) -> None:
        """Forget charges that are settled."""
        await self._database.execute(
            "DELETE FROM pending WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )

    async def size(self) -> int:
        """How many charges are kept."""
        rows = await self._database.execute("SELECT COUNT(*) FROM pending")
        return int(rows[0][0])


def _total(connection: sqlite3.Connection, key_id: str, day: date) -> Amount:
    row = connection.execute(
        "SELECT audio_ms, characters, requests FROM usage WHERE key_id = ? AND day = ?",
        (key_id, day.isoformat()),
    ).fetchone()
    return Amount(*row) if row else Amount()
