"""API keys in the SQLite file, shared by the server and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from guards.keys import KeyChanges, KeyRecord
from guards.principal import Tier
from guards.sqlite import Database, moment, stamp

_COLUMNS: Final = (
    "key_id",
    "digest",
    "hint",
    "user_id",
    "tier",
    "scopes",
    "name",
    "created_at",
    "expires_at",
    "revoked_at",
    "last_used_at",
    "limits",
    "previous_digest",
    "previous_until",
)
_NAMES: Final = ", ".join(_COLUMNS)
_MARKS: Final = ", ".join("?" * len(_COLUMNS))
_REPLACED: Final = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])

_STORED: Final[dict[str, Callable[[Any], Any]]] = {
    "tier": lambda tier: tier.value,
    "scopes": lambda scopes: " ".join(sorted(scopes)),
    "limits": lambda limits: json.dumps(dict(limits), sort_keys=True),
    "created_at": stamp,
    "expires_at": stamp,
    "revoked_at": stamp,
    "last_used_at": stamp,
    "previous_until": stamp,
}
"""How the fields that SQLite has no type for are stored."""


class SqliteKeyStore:
    """:class:`~guards.keys.KeyStore` on a database, whose owner closes it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, record: KeyRecord) -> None:
        await self._database.execute(
            f"INSERT INTO api_keys ({_NAMES}) VALUES ({_MARKS}) "  # noqa: S608 - constant columns
            f"ON CONFLICT (key_id) DO UPDATE SET {_REPLACED}",
            tuple(_stored(name, getattr(record, name)) for name in _COLUMNS),
        )

    async def find(self, digest: bytes) -> KeyRecord | None:
        rows = await self._database.execute(
            f"SELECT {_NAMES} FROM api_keys WHERE digest = ?1 OR previous_digest = ?1",  # noqa: S608 - constant columns
            (digest,),
        )
        return _record(rows[0]) if rows else None

    async def get(self, key_ids: Iterable[str]) -> dict[str, KeyRecord]:
        # One parameter however many keys: SQLite limits their number.
        rows = await self._database.execute(
            f"SELECT {_NAMES} FROM api_keys WHERE key_id IN (SELECT value FROM json_each(?))",  # noqa: S608 - constant columns
            (json.dumps(list(key_ids)),),
        )
        return {row[0]: _record(row) for row in rows}

    async def listing(self) -> list[KeyRecord]:
        rows = await self._database.execute(
            f"SELECT {_NAMES} FROM api_keys ORDER BY created_at, key_id"  # noqa: S608 - constant columns
        )
        return [_record(row) for row in rows]

    async def amend(self, key_id: str, changes: KeyChanges) -> KeyRecord | None:
        # Without changes there is still a record to return.
        settings = [f"{name} = ?" for name in changes] or ["key_id = key_id"]
        values = [_stored(name, value) for name, value in changes.items()]
        return await self._update(", ".join(settings), key_id, *values)

    async def rotate(
        self, key_id: str, *, digest: bytes, hint: str, until: datetime
    ) -> KeyRecord | None:
        # On the right-hand side of SET stand the values before.
        return await self._update(
            "previous_digest = digest, previous_until = ?, digest = ?, hint = ?",
            key_id,
            stamp(until),
            digest,
            hint,
        )

    async def revoke(self, key_id: str, at: datetime) -> bool:
        found = await self._update("revoked_at = coalesce(revoked_at, ?)", key_id, stamp(at))
        return found is not None

    async def touch(self, key_id: str, at: datetime) -> None:
        await self._update("last_used_at = max(coalesce(last_used_at, 0), ?)", key_id, stamp(at))

    async def ping(self) -> None:
        await self._database.ping()

    async def _update(self, settings: str, key_id: str, *values: Any) -> KeyRecord | None:
        rows = await self._database.execute(
            f"UPDATE api_keys SET {settings} WHERE key_id = ? RETURNING {_NAMES}",  # noqa: S608 - settings are constants and column names
            (*values, key_id),
        )
        return _record(rows[0]) if rows else None


def _stored(name: str, value: Any) -> Any:
    convert = _STORED.get(name)
    return value if convert is None else convert(value)


def _record(row: tuple[Any, ...]) -> KeyRecord:
    fields = dict(zip(_COLUMNS, row, strict=True))
    return KeyRecord(
        **fields
        | {
            "tier": Tier(fields["tier"]),
            "scopes": frozenset(fields["scopes"].split()),
            "limits": json.loads(fields["limits"]),
            "created_at": datetime.fromtimestamp(fields["created_at"], UTC),
            "expires_at": moment(fields["expires_at"]),
            "revoked_at": moment(fields["revoked_at"]),
            "last_used_at": moment(fields["last_used_at"]),
            "previous_until": moment(fields["previous_until"]),
        }
    )
