"""Usage summed up for people: by user, key or day, as records or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from datetime import date
from typing import Final, Literal

from msgspec import Struct

from guards.usage import Amount, DayUsage

By = Literal["user", "key", "day"]

COLUMNS: Final = ("user_id", "key_id", "day", "audio_seconds", "characters", "requests")

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""With these a spreadsheet takes a cell for a formula."""


class UsageRow(Struct):
    """What was used. ``key_id`` and ``day`` are null where the row sums over them."""

    user_id: str
    key_id: str | None
    day: date | None
    audio_seconds: float
    characters: int
    requests: int


def seconds(amount: Amount) -> float:
    """Audio in seconds."""
    return amount.audio_ms / 1000


def summed(usage: Iterable[DayUsage], by: By) -> list[UsageRow]:
    """Rows by user; by user and key; or by user, key and day. In this order."""
    group: Callable[[DayUsage], tuple[str, str | None, date | None]] = {
        "user": lambda one: (one.user_id, None, None),
        "key": lambda one: (one.user_id, one.key_id, None),
        "day": lambda one: (one.user_id, one.key_id, one.day),
    }[by]
    totals: dict[tuple[str, str | None, date | None], Amount] = {}
    for one in usage:
        key = group(one)
        totals[key] = totals.get(key, Amount()) + one.amount
    return [
        UsageRow(*key, seconds(amount), amount.characters, amount.requests)
        for key, amount in sorted(
            totals.items(), key=lambda item: (item[0][0], item[0][1] or "", item[0][2] or date.min)
        )
    ]


def as_csv(rows: Iterable[UsageRow]) -> str:
    """RFC 4180, with a head. Texts that a spreadsheet would run are quoted by an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(getattr(row, column)) for column in COLUMNS])
    return text.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value
