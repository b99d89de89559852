"""API keys that all processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from guards.errors import StoreUnavailable
from guards.keys import KeyChanges, KeyRecord
from guards.redis.client import RedisHome

_TRIES: Final = 20
_DIGESTS: Final = 128
_NO_DIGEST: Final = bytes(32)


class RedisKeyStore:
    """:class:`~guards.keys.KeyStore` in Redis: a hash of records, and one of ids by digest.

    A record is its digests in hex and then JSON, so that scripts find them without reading the
    JSON. A change is written if the record is still the one it was made to, or made again.
    """

    def __init__(self, home: RedisHome) -> None:
        self._home = home
        self._records = home.key("{keys}", "records")
        self._digests = home.key("{keys}", "digests")
        self._find = home.script("find_key")
        self._put = home.script("put_key")

    async def put(self, record: KeyRecord) -> None:
        await self._write(record, b"")

    async def find(self, digest: bytes) -> KeyRecord | None:
        value = await self._find([self._digests, self._records], [digest.hex()])
        return None if value is None else _record(value)

    async def get(self, key_ids: Iterable[str]) -> dict[str, KeyRecord]:
        wanted = list(key_ids)
        if not wanted:
            return {}
        values = await self._home.run(lambda: self._home.client.hmget(self._records, wanted))
        return {
            key_id: _record(value)
            for key_id, value in zip(wanted, values, strict=True)
            if value is not None
        }

    async def listing(self) -> list[KeyRecord]:
        values = await self._home.run(lambda: self._home.client.hvals(self._records))
        return sorted(map(_record, values), key=lambda record: (record.created_at, record.key_id))

    async def amend(self, key_id: str, changes: KeyChanges) -> KeyRecord | None:
        return await self._change(key_id, lambda record: replace(record, **changes))

    async def rotate(
        self, key_id: str, *, digest: bytes, hint: str, until: datetime
    ) -> KeyRecord | None:
        return await self._change(
            key_id,
            lambda record: replace(
                record,
                digest=digest,
                hint=hint,
                previous_digest=record.digest,
                previous_until=until,
            ),
        )

    async def revoke(self, key_id: str, at: datetime) -> bool:
        changed = await self._change(
            key_id, lambda record: replace(record, revoked_at=record.revoked_at or at)
        )
        return changed is not None

    async def touch(self, key_id: str, at: datetime) -> None:
        await self._change(
            key_id,
            lambda record: replace(record, last_used_at=max(at, record.last_used_at or at)),
        )

    async def ping(self) -> None:
        await self._home.ping()

    async def _change(
        self, key_id: str, change: Callable[[KeyRecord], KeyRecord]
    ) -> KeyRecord | None:
        """The record as changed, or None if there is none."""
        for _ in range(_TRIES):
            before = await self._home.run(lambda: self._home.client.hget(self._records, key_id))
            if before is None:
                return None
            record = change(_record(before))
            if await self._write(record, before):
                return record
        raise StoreUnavailable("The key is being changed by too many at once.", key_id=key_id)

    async def _write(self, record: KeyRecord, before: bytes) -> bool:
        keys = [self._digests, self._records]
        return bool(await self._put(keys, [record.key_id, _value(record), before]))


def _value(record: KeyRecord) -> bytes:
    digests = record.digest + (record.previous_digest or _NO_DIGEST)
    return digests.hex().encode() + msgspec.json.encode(record)


def _record(value: bytes) -> KeyRecord:
    return msgspec.json.decode(value[_DIGESTS:], type=KeyRecord)
