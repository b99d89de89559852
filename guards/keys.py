"""What is kept of API keys, and where: the port of key stores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, TypedDict

from guards.principal import Principal, Tier


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key. Never the key itself."""

    key_id: str
    digest: bytes
    hint: str
    user_id: str
    tier: Tier
    scopes: frozenset[str]
    name: str
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    """Limits of the tier that are another for this key, by name."""
    previous_digest: bytes | None = None
    """Of the secret before the last rotation, which is good until ``previous_until``."""
    previous_until: datetime | None = None

    @property
    def principal(self) -> Principal:
        return Principal(
            key_id=self.key_id,
            user_id=self.user_id,
            tier=self.tier,
            scopes=self.scopes,
            name=self.name,
            expires_at=self.expires_at,
            limits=self.limits,
        )

    @property
    def shown(self) -> dict[str, Any]:
        """What may be shown of a key: all but its digests."""
        return {
            "key_id": self.key_id,
            "user_id": self.user_id,
            "tier": self.tier,
            "name": self.name,
            "scopes": sorted(self.scopes),
            "hint": self.hint,
            "created_at": self.created_at,
            "expires_at": self.expires_at,
            "revoked_at": self.revoked_at,
            "last_used_at": self.last_used_at,
            "limits": dict(self.limits),
            "previous_until": self.previous_until,
        }


class KeyChanges(TypedDict, total=False):
    """What an administrator may change about a key."""

    name: str
    tier: Tier
    scopes: frozenset[str]
    expires_at: datetime | None
    limits: Mapping[str, int]


class KeyStore(Protocol):
    """Where keys outlive a restart. Held to one contract suite; see ``tests/guards``."""

    async def put(self, record: KeyRecord) -> None:
        """Add a record, or replace the one with its ``key_id``."""
        ...

    async def find(self, digest: bytes) -> KeyRecord | None:
        """The record with this digest, current or previous."""
        ...

    async def get(self, key_ids: Iterable[str]) -> dict[str, KeyRecord]:
        """The records with these ids; unknown ids are left out."""
        ...

    async def listing(self) -> list[KeyRecord]:
        """All records, revoked ones too, oldest first."""
        ...

    async def amend(self, key_id: str, changes: KeyChanges) -> KeyRecord | None:
        """Change these fields and no others, atomically; the record as it then is.

        None when there is no such key.
        """
        ...

    async def rotate(
        self, key_id: str, *, digest: bytes, hint: str, until: datetime
    ) -> KeyRecord | None:
        """Replace a key's digest atomically; the one before becomes the previous, ``until`` then.

        The record as it then is; None when there is no such key.
        """
        ...

    async def revoke(self, key_id: str, at: datetime) -> bool:
        """Mark a key revoked from ``at``. Idempotent; False when there is no such key."""
        ...

    async def touch(self, key_id: str, at: datetime) -> None:
        """Remember that a key was used. A later time wins."""
        ...

    async def ping(self) -> None:
        """Raise when the store can't answer."""
        ...
