"""Who is asking."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

ADMIN: Final = "admin"
"""The scope that opens the key and session administration."""

SCOPES: Final = frozenset({ADMIN})
"""Every scope a key can be given."""


class Tier(StrEnum):
    """What a key may use; the limits of each are in DESIGN section 7."""

    FREE = "free"
    BASIC = "basic"
    PRO = "pro"
    ENTERPRISE = "enterprise"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Principal:
    """The owner of a credential, as established once for each request or connection.

    ``user_id`` is the tenant: the unit of fairness and of limits above the key.
    """

    key_id: str
    user_id: str
    tier: Tier
    scopes: frozenset[str] = field(default_factory=frozenset)
    name: str = ""
    expires_at: datetime | None = None

    def may(self, scope: str) -> bool:
        """Whether this principal holds a scope."""
        return scope in self.scopes

    def expired(self, now: float) -> bool:
        """Whether the credential's time is over at ``now`` (seconds since the epoch)."""
        return self.expires_at is not None and self.expires_at <= datetime.fromtimestamp(now, UTC)
