"""The audit log in the SQLite file, where triggers refuse to change or delete what is written."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from guards.audit import AuditEntry
from guards.sqlite import Database

_COLUMNS = "at, key_id, user_id, action, target, outcome, details, request_id, address"


class SqliteAuditLog:
    """:class:`~guards.audit.AuditLog` on a :class:`~guards.sqlite.Database`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, entry: AuditEntry) -> None:
        await self._database.execute(
            f"INSERT INTO audit_log ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constant columns
            (
                entry.at.timestamp(),
                entry.key_id,
                entry.user_id,
                entry.action,
                entry.target,
                entry.outcome,
                msgspec.json.encode(entry.details, enc_hook=str, order="sorted").decode(),
                entry.request_id,
                entry.address,
            ),
        )

    async def page(self, *, before: int | None, limit: int) -> list[AuditEntry]:
        rows = await self._database.execute(
            f"SELECT id, {_COLUMNS} FROM audit_log "  # noqa: S608 - constant columns
            "WHERE ?1 IS NULL OR id < ?1 ORDER BY id DESC LIMIT ?2",
            (before, limit),
        )
        return [
            AuditEntry(
                id=row[0],
                at=datetime.fromtimestamp(row[1], UTC),
                key_id=row[2],
                user_id=row[3],
                action=row[4],
                target=row[5],
                outcome=row[6],
                details=msgspec.json.decode(row[7]),
                request_id=row[8],
                address=row[9],
            )
            for row in rows
        ]
