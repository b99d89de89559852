"""Usage in a SQLite file, and charges that wait there until the shared store is back."""

from __future__ import annotations

import asyncio
import json
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
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

_TOGETHER: Final = 500
"""Charges in a transaction, at most: nobody else is kept from the file for long."""
_FORGET_SECONDS: Final = 60.0
_SETTLED_SECONDS: Final = 600.0
"""How long a booked charge is remembered. Between a process and its own file no answer is lost."""

_USED: Final = """
    SELECT key_id, day, audio_ms, characters, requests FROM usage WHERE (key_id, day) IN
        (SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?))
"""
_SETTLED: Final = """
    SELECT id, audio_ms, characters, requests FROM settled
    WHERE id IN (SELECT value FROM json_each(?))
"""
_ADD_USAGE: Final = """
    INSERT INTO usage (key_id, day, user_id, audio_ms, characters, requests)
    SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
        json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]')
    FROM json_each(?) WHERE true
    ON CONFLICT (key_id, day) DO UPDATE SET audio_ms = audio_ms + excluded.audio_ms,
        characters = characters + excluded.characters, requests = requests + excluded.requests
"""
_SETTLE: Final = """
    INSERT INTO settled (id, at, audio_ms, characters, requests)
    SELECT json_extract(value, '$[6]'), ?, json_extract(value, '$[3]'),
        json_extract(value, '$[4]'), json_extract(value, '$[5]')
    FROM json_each(?)
"""


@dataclass(frozen=True, slots=True)
class _Order:
    """A charge that waits to be booked."""

    charge: Charge
    quota: Quota
    whole: bool
    future: asyncio.Future[Receipt]


class SqliteUsage:
    """:class:`~guards.usage.UsageStore` on a database, whose owner closes it.

    ``clock`` gives seconds since the epoch.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._orders: list[_Order] = []
        self._booking: asyncio.Task[None] | None = None
        self._forget_at = -math.inf

    async def book(
        self, charge: Charge, quota: Quota = UNBOUNDED, *, whole: bool = True
    ) -> Receipt:
        future: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        self._orders.append(_Order(charge, quota, whole, future))
        if self._booking is None or self._booking.done():
            self._booking = asyncio.create_task(self._book_waiting())
        return await future

    async def _book_waiting(self) -> None:
        """Book all that waits, and what comes meanwhile, each time in one transaction.

        A thousand streams book two hundred times a second, and each statement costs the thread a
        wait for the interpreter: one after the other they would wait for each other.
        """
        while orders := self._orders[:_TOGETHER]:
            del self._orders[:_TOGETHER]
            try:
                receipts = await self._database.transaction(partial(self._book, orders=orders))
            except BaseException as error:
                for order in orders:
                    if not order.future.done():
                        order.future.set_exception(error)
                if not isinstance(error, Exception):
                    raise
            else:
                for order, receipt in zip(orders, receipts, strict=True):
                    if not order.future.done():  # who asked may have gone meanwhile
                        order.future.set_result(receipt)

    def _book(self, connection: sqlite3.Connection, orders: Sequence[_Order]) -> list[Receipt]:
        now = self._clock()
        if now >= self._forget_at:
            self._forget_at = now + _FORGET_SECONDS
            connection.execute("DELETE FROM settled WHERE at < ?", (now - _SETTLED_SECONDS,))
        days = {(order.charge.key_id, order.charge.day.isoformat()) for order in orders}
        used = {
            (key_id, day): Amount(*figures)
            for key_id, day, *figures in connection.execute(_USED, (json.dumps(sorted(days)),))
        }
        ids = json.dumps([order.charge.id for order in orders])
        settled = {
            name: Amount(*figures) for name, *figures in connection.execute(_SETTLED, (ids,))
        }
        receipts: list[Receipt] = []
        rows: list[tuple[Any, ...]] = []
        for order in orders:
            charge = order.charge
            day = charge.day.isoformat()
            total = used.get((charge.key_id, day), Amount())
            granted = settled.get(charge.id)
            if granted is None:
                granted = grant(charge.amount, total, order.quota, whole=order.whole)
                if granted:
                    figures = (granted.audio_ms, granted.characters, granted.requests)
                    rows.append((charge.key_id, day, charge.user_id, *figures, charge.id))
                    settled[charge.id] = granted
                    used[charge.key_id, day] = total = total + granted
            receipts.append(Receipt(granted, total))
        if rows:
            booked = json.dumps(rows)
            connection.execute(_ADD_USAGE, (booked,))
            connection.execute(_SETTLE, (now, booked))
        return receipts

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
