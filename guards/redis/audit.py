"""The audit log that all processes share: a stream, to which entries are only ever added."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from guards.audit import AuditEntry
from guards.redis.client import RedisHome


class RedisAuditLog:
    """:class:`~guards.audit.AuditLog` in Redis."""

    def __init__(self, home: RedisHome) -> None:
        self._home = home
        self._entries = home.key("{audit}", "entries")
        self._last = home.key("{audit}", "last")
        self._append = home.script("append")

    async def append(self, entry: AuditEntry) -> None:
        value = msgspec.json.encode(entry, enc_hook=str, order="sorted")
        await self._append([self._entries, self._last], [value])

    async def page(self, *, before: int | None, limit: int) -> list[AuditEntry]:
        newest = "+" if before is None else f"({before}-0"
        found = await self._home.run(
            lambda: self._home.client.xrevrange(self._entries, max=newest, count=limit)
        )
        return [
            replace(
                msgspec.json.decode(fields[b"entry"], type=AuditEntry),
                id=int(number.partition(b"-")[0]),
            )
            for number, fields in found
        ]
