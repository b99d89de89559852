"""The meter of one stream: reserves ahead, warns once, and ends at the quota."""

from __future__ import annotations

from datetime import date
from typing import Final

from guards.metering import Metering
from guards.principal import Principal
from guards.tiers import Limits
from guards.usage import Amount, today
from streaming.wire import WarningEvent

CHUNK_MS: Final = 5_000
"""Audio that is reserved at a time: how much too much is booked after a crash, at most."""

_LOW: Final = 0.9


class StreamMeter:
    """Meters one stream. It is told totals, and never more often than it can book."""

    def __init__(self, metering: Metering, principal: Principal, limits: Limits) -> None:
        self._metering = metering
        self._principal = principal
        self._limits = limits
        self._booked = Amount()
        self._day: date | None = None
        self._warned: set[str] = set()

    async def spend(self, audio_ms: int, characters: int) -> list[WarningEvent]:
        """Take what the stream has used so far, in all; returns what its client is to be told.

        Raises ``QuotaExceeded`` when it has to end.
        """
        missing = audio_ms - self._booked.audio_ms
        if missing <= 0:
            return []
        self._day = today(self._metering.clock())
        asked = Amount(
            max(CHUNK_MS, missing),
            characters - self._booked.characters,
            0 if self._booked.requests else 1,
        )
        charge = self._metering.charge(self._principal, asked, day=self._day)
        receipt = await self._metering.book(charge, self._limits.quota, whole=False, running=True)
        self._booked += receipt.granted
        if receipt.granted.audio_ms < missing:
            raise self._metering.exceeded("audio", self._limits)
        if characters and receipt.total.characters >= self._limits.characters_per_day:
            raise self._metering.exceeded("characters", self._limits)
        return self._low(receipt.total, translates=characters > 0)

    async def close(self, audio_ms: int, characters: int) -> None:
        """Book exactly what the stream has used in all. Raises ``StoreUnavailable``."""
        rest = Amount(audio_ms, characters, self._booked.requests) - self._booked
        if rest:
            # What is given back belongs to the day it was reserved on.
            charge = self._metering.charge(self._principal, rest, day=self._day)
            await self._metering.book(charge, running=True)
            self._booked += rest

    def _low(self, total: Amount, *, translates: bool) -> list[WarningEvent]:
        audio = (
            "audio_seconds",
            total.audio_ms / 1000,
            self._limits.audio_minutes_per_day * 60,
        )
        text = ("characters", total.characters, self._limits.characters_per_day)
        return [
            WarningEvent(
                code="quota_low",
                message=f"{used / limit:.0%} of the day's {what} are used",
                details={"quota": what, "used": used, "limit": limit},
            )
            for what, used, limit in ((audio, text) if translates else (audio,))
            if limit and used >= limit * _LOW and self._first(what)
        ]

    def _first(self, what: str) -> bool:
        """Whether nothing was said of this yet."""
        if what in self._warned:
            return False
        self._warned.add(what)
        return True
