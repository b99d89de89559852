"""Key records for tests of stores."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from guards.keys import KeyRecord
from guards.principal import STREAM, Tier

AT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LATER: Final = datetime(2026, 2, 3, tzinfo=UTC)


def record(number: int = 1, **changes: object) -> KeyRecord:
    base = KeyRecord(
        key_id=f"key_{number}",
        digest=bytes([number]) * 32,
        hint="…abcd",
        user_id="ana",
        tier=Tier.PRO,
        scopes=frozenset({STREAM}),
        name="conference",
        created_at=AT,
        expires_at=LATER,
        limits={"requests_per_minute": 7},
    )
    return replace(base, **changes)  # type: ignore[arg-type]  # the fields a test names
