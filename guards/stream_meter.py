"""The meter of one stream: reserves ahead, warns once, and ends at the quota."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date
from typing import Final

from guards.metering import Metering
from guards.principal import Principal
from guards.tiers import Limits
from guards.usage import UNBOUNDED, Amount, Quota, Receipt, today
from streaming.wire import WarningEvent

CHUNK_MS: Final = 5_000
"""Audio that is reserved at a time: how much too much is booked after a crash, at most."""

_LOW: Final = 0.9


@dataclass(frozen=True, slots=True)
class Standing:
    """What a stream has booked, for another process to go on with: after so many charges."""

    charges: int = 0
    booked: Amount = field(default_factory=Amount)
    day: date | None = None
    warned: tuple[str, ...] = ()


class StreamMeter:
    """Meters one stream. It is told totals, and never more often than it can book.

    The charges of a ``stream`` are numbered. So one whose answer did not come, because who asked
    was cancelled or has died, is booked once: the next who asks under its number gets its answer.
    """

    def __init__(
        self,
        metering: Metering,
        principal: Principal,
        limits: Limits,
        stream: str,
        standing: Standing | None = None,
    ) -> None:
        self.standing = standing or Standing()
        self._metering = metering
        self._principal = principal
        self._limits = limits
        self._stream = stream

    def covers(self, audio_ms: int) -> bool:
        """Whether what the stream has used so far is booked."""
        return audio_ms <= self.standing.booked.audio_ms

    async def spend(self, audio_ms: int, characters: int) -> list[WarningEvent]:
        """Take what the stream has used so far, in all; returns what its client is to be told.

        Raises ``QuotaExceeded`` when it has to end.
        """
        warnings: list[WarningEvent] = []
        while (missing := audio_ms - self.standing.booked.audio_ms) > 0:
            booked = self.standing.booked
            asked = Amount(
                max(CHUNK_MS, missing),
                characters - booked.characters,
                0 if booked.requests else 1,
            )
            day = today(self._metering.clock())
            receipt = await self._book(asked, day, self._limits.quota)
            if not receipt.granted.audio_ms:
                raise self._metering.exceeded("audio", self._limits)
            if characters and receipt.total.characters >= self._limits.characters_per_day:
                raise self._metering.exceeded("characters", self._limits)
            warnings += self._low(receipt.total, translates=characters > 0)
        return warnings

    async def close(self, audio_ms: int, characters: int) -> None:
        """Book exactly what the stream has used in all. Raises ``StoreUnavailable``."""
        while rest := self._unbooked(audio_ms, characters):
            # What is given back belongs to the day it was reserved on.
            day = self.standing.day or today(self._metering.clock())
            await self._book(rest, day, UNBOUNDED)

    def _unbooked(self, audio_ms: int, characters: int) -> Amount:
        booked = self.standing.booked
        return Amount(audio_ms, characters, booked.requests) - booked

    async def _book(self, amount: Amount, day: date, quota: Quota) -> Receipt:
        number = self.standing.charges + 1
        charge = replace(
            self._metering.charge(self._principal, amount, day=day), id=f"{self._stream}.{number}"
        )
        receipt = await self._metering.book(charge, quota, whole=False, running=True)
        booked = self.standing.booked + receipt.granted
        self.standing = replace(self.standing, charges=number, booked=booked, day=day)
        return receipt

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
        if what in self.standing.warned:
            return False
        self.standing = replace(self.standing, warned=(*self.standing.warned, what))
        return True
