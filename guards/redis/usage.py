"""Usage that all processes share. It has no end of life: it is what bills are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from guards.redis.client import RedisHome
from guards.usage import (
    SETTLED_SECONDS,
    UNBOUNDED,
    Amount,
    Charge,
    DayUsage,
    Quota,
    Receipt,
)


class RedisUsage:
    """:class:`~guards.usage.UsageStore` in Redis: a hash for each key and day."""

    def __init__(self, home: RedisHome) -> None:
        self._home = home
        self._script = home.script("book")
        self._listed: tuple[date | None, set[str]] = (None, set())

    async def book(
        self, charge: Charge, quota: Quota = UNBOUNDED, *, whole: bool = True
    ) -> Receipt:
        await self._list(charge)
        receipt = await self._book(charge, quota, whole=whole)
        if receipt.total == receipt.granted:
            # The hash is new: Redis may have lost the list with it since it was written.
            self._listed = (None, set())
            await self._list(charge)
        return receipt

    async def _book(self, charge: Charge, quota: Quota, *, whole: bool) -> Receipt:
        amount = charge.amount
        figures = await self._script(
            [
                self._key(charge.key_id, charge.day),
                self._home.key("settled", f"{{{charge.key_id}}}", charge.id),
            ],
            [
                charge.user_id,
                amount.audio_ms,
                amount.characters,
                amount.requests,
                -1 if quota.audio_ms is None else quota.audio_ms,
                -1 if quota.characters is None else quota.characters,
                int(whole),
                SETTLED_SECONDS,
            ],
        )
        return Receipt(Amount(*figures[:3]), Amount(*figures[3:]))

    async def total(self, key_id: str, day: date) -> Amount:
        return _amount(await self._figures(key_id, day))

    async def report(
        self, first: date, last: date, key_ids: Sequence[str] | None = None
    ) -> list[DayUsage]:
        found: list[DayUsage] = []
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            wanted = sorted(set(key_ids)) if key_ids is not None else await self._keys_of(day)
            figures = await asyncio.gather(*(self._figures(key_id, day) for key_id in wanted))
            found += [
                DayUsage(day, key_id, held[0].decode(), _amount(held))
                for key_id, held in zip(wanted, figures, strict=True)
                if held[0] is not None
            ]
        return found

    async def _list(self, charge: Charge) -> None:
        """Note, before anything is booked, that this key has a hash for this day."""
        day, listed = self._listed
        if day != charge.day:
            self._listed = (charge.day, listed := set())
        if charge.key_id in listed:
            return
        key = self._home.key("usage", charge.day.isoformat())
        await self._home.run(lambda: self._home.client.sadd(key, charge.key_id))
        listed.add(charge.key_id)

    async def _keys_of(self, day: date) -> list[str]:
        key = self._home.key("usage", day.isoformat())
        members = await self._home.run(lambda: self._home.client.smembers(key))
        return sorted(member.decode() for member in members)

    async def _figures(self, key_id: str, day: date) -> list[Any]:
        key = self._key(key_id, day)
        fields = ("user", "audio", "characters", "requests")
        found: list[Any] = await self._home.run(lambda: self._home.client.hmget(key, fields))
        return found

    def _key(self, key_id: str, day: date) -> str:
        return self._home.key("usage", f"{{{key_id}}}", day.isoformat())


def _amount(figures: list[Any]) -> Amount:
    return Amount(*(int(figure or 0) for figure in figures[1:]))
