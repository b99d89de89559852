"""Who is asking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

STREAM: Final = "stream"
"""The scope for live sessions."""

TRANSCRIBE: Final = "transcribe"
"""The scope for files."""

TRANSLATE: Final = "translate"
"""The scope for texts."""

ADMIN: Final = "admin"
"""The scope for administration, which includes the others: who has it can issue them."""

METRICS: Final = "metrics"
"""The scope for reading metrics, and nothing else."""

WORK: Final = frozenset({STREAM, TRANSCRIBE, TRANSLATE})
"""What a credential may do when nobody says otherwise."""

SCOPES: Final = WORK | {ADMIN, METRICS}
"""Every scope a key can be given."""


class Tier(StrEnum):
    """What a key may use; the limits of each are in DESIGN section 7."""

    FREE = "free"
    BASIC = "basic"
    PRO = "pro"
    ENTERPRISE = "enterprise"
    ADMIN = "admin"


class Credential(StrEnum):
    """How a principal was established."""

    KEY = "key"
    TOKEN = "token"  # noqa: S105 - a kind, and no secret
    TICKET = "ticket"


def effective_scopes(scopes: Iterable[str], tier: Tier) -> frozenset[str]:
    """The scopes of a key of this tier: those given, or the usual ones when none are.

    The admin tier carries the admin scope.
    """
    return (frozenset(scopes) or WORK) | ({ADMIN} if tier is Tier.ADMIN else frozenset())


@dataclass(frozen=True, slots=True)
class Principal:
    """The owner of a credential, as established once for each request or connection.

    ``user_id`` is the tenant: the unit of fairness and of limits above the key. ``key_id`` is
    that of a key of ours, or stands for a user of an external ``issuer``. ``limits`` are those of
    the tier that are another for this key.
    """

    key_id: str
    user_id: str
    tier: Tier
    scopes: frozenset[str] = field(default_factory=frozenset)
    name: str = ""
    expires_at: datetime | None = None
    limits: Mapping[str, int] = field(default_factory=dict, hash=False)
    credential: Credential = Credential.KEY
    issuer: str = ""
    """The external token issuer that vouches for the user, if not a key of ours does."""

    def may(self, scope: str) -> bool:
        """Whether this principal holds a scope."""
        return scope in self.scopes or ADMIN in self.scopes

    def expired(self, now: float) -> bool:
        """Whether the credential's time is over at ``now`` (seconds since the epoch)."""
        return self.expires_at is not None and self.expires_at <= datetime.fromtimestamp(now, UTC)
