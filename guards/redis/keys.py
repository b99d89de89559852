"""API keys that all processes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Final

import msgspec

from guards.errors import StoreUnavailable
from guards.keys import KeyRecord
from guards.redis.client import RedisHome

_TRIES: Final = 20
_DIGEST_CHARS: Final = 64


class RedisKeyStore:
    """:class:`~guards.keys.KeyStore` in Redis: a hash of records, and one of ids by digest.

    A record is its digest in hex and then JSON, so that scripts find the digest without reading
    the JSON.
    """

    def __init__(self, home: RedisHome) -> None:
        self._home = home
        self._records = home.key("{keys}", "records")
        self._digests = home.key("{keys}", "digests")
        self._find = home.script("find_key")
        self._put = home.script("put_key")

    async def put(self, record: KeyRecord) -> None:
        await self._replace(None, record)

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

    async def revoke(self, key_id: str, at: datetime) -> bool:
        return await self._change(
            key_id,
            lambda record: record if record.revoked_at else replace(record, revoked_at=at),
        )

    async def touch(self, key_id: str, at: datetime) -> None:
        await self._change(
            key_id,
            lambda record: replace(record, last_used_at=max(at, record.last_used_at or at)),
        )

    async def ping(self) -> None:
        await self._home.ping()

    async def close(self) -> None:
        """The connection is its owner's to close."""

    async def _change(self, key_id: str, change: Callable[[KeyRecord], KeyRecord]) -> bool:
        """Change a record, again when somebody else did meanwhile; False if there is none."""
        for _ in range(_TRIES):
            before = await self._home.run(lambda: self._home.client.hget(self._records, key_id))
            if before is None:
                return False
            record = change(_record(before))
            if _value(record) == before or await self._replace(before, record):
                return True
        raise StoreUnavailable("The key is changed by too many at once.", key_id=key_id)

    async def _replace(self, before: bytes | None, record: KeyRecord) -> bool:
        """Write a record, if it still is what it was ``before`` (None: whatever it was)."""
        return bool(
            await self._put(
                [self._digests, self._records],
                [record.key_id, record.digest.hex(), _value(record), before or b""],
            )
        )


def _value(record: KeyRecord) -> bytes:
    return record.digest.hex().encode() + msgspec.json.encode(record, order="deterministic")


def _record(value: bytes) -> KeyRecord:
    return msgspec.json.decode(value[_DIGEST_CHARS:], type=KeyRecord)
