"""What keys have used: audio and characters, by key and day (UTC)."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final, Protocol

SETTLED_SECONDS: Final = 86_400
"""How long a shared store remembers which charges it has booked: one that is sent again later,
because its answer was lost, is counted twice."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Audio in milliseconds, characters of text, and requests (a stream is one)."""

    audio_ms: int = 0
    characters: int = 0
    requests: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.audio_ms + other.audio_ms,
            self.characters + other.characters,
            self.requests + other.requests,
        )

    def __sub__(self, other: Amount) -> Amount:
        return self + Amount(-other.audio_ms, -other.characters, -other.requests)

    def __bool__(self) -> bool:
        return bool(self.audio_ms or self.characters or self.requests)


@dataclass(frozen=True, slots=True)
class Quota:
    """What a key may use in a day. None is no bound."""

    audio_ms: int | None = None
    characters: int | None = None


UNBOUNDED: Final = Quota()


def charge_id() -> str:
    """A new id for a charge."""
    return secrets.token_hex(12)


@dataclass(frozen=True, slots=True)
class Charge:
    """Something to book on a key's day. Booked once, however often it is sent: ``id`` tells.

    Amounts may be negative: what was reserved and not used is given back.
    """

    key_id: str
    user_id: str
    day: date
    amount: Amount
    id: str = field(default_factory=charge_id)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What of a charge was booked, and what the key has used that day with it."""

    granted: Amount
    total: Amount


@dataclass(frozen=True, slots=True)
class DayUsage:
    """What one key used on one day."""

    day: date
    key_id: str
    user_id: str
    amount: Amount


class UsageStore(Protocol):
    """Where usage outlives a restart: one contract suite. All raise ``StoreUnavailable``."""

    async def book(
        self, charge: Charge, quota: Quota = UNBOUNDED, *, whole: bool = True
    ) -> Receipt:
        """Book a charge, as far as the key's quota for that day allows.

        With ``whole``, all of it or nothing; otherwise as much audio as is left, and then all the
        rest. Characters are then booked over their quota: they have been translated already.
        """
        ...

    async def total(self, key_id: str, day: date) -> Amount:
        """What a key used on a day."""
        ...

    async def report(
        self, first: date, last: date, key_ids: Sequence[str] | None = None
    ) -> list[DayUsage]:
        """Usage from day to day, both included, of these keys or of all; by day and key."""
        ...


def grant(asked: Amount, used: Amount, quota: Quota, *, whole: bool) -> Amount:
    """What of ``asked`` may be booked beside what was used; an empty amount for nothing.

    ``guards/redis/book.lua`` is the same arithmetic.
    """
    audio = asked.audio_ms
    if quota.audio_ms is not None and audio > 0:
        left = max(0, quota.audio_ms - used.audio_ms)
        if whole and audio > left:
            return Amount()
        audio = min(audio, left)
    if (
        whole
        and quota.characters is not None
        and asked.characters > max(0, quota.characters - used.characters)
    ):
        return Amount()
    return Amount(audio, asked.characters, asked.requests)


def today(now: float) -> date:
    """The day (UTC) that usage at ``now`` (seconds since the epoch) belongs to."""
    return datetime.fromtimestamp(now, UTC).date()


def until_tomorrow(now: float) -> float:
    """Seconds until the next day (UTC) begins."""
    tomorrow = today(now) + timedelta(days=1)
    return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=UTC).timestamp() - now
