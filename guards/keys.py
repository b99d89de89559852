"""API keys: issuing, checking and revoking them, over any :class:`KeyStore`."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Protocol

import structlog

from guards.errors import (
    ExpiredCredential,
    InvalidCredential,
    KeyRevoked,
    KeyUnknown,
    StoreUnavailable,
)
from guards.principal import ADMIN, Principal, Tier
from guards.secrets import digest, hint, mint, mistyped

log = structlog.get_logger(__name__)

CACHE_SECONDS: Final = 2.0
"""How long a found key is believed without asking the store: revoking is seen within this."""

_CACHE_SIZE: Final = 10_000
_TOUCH_SECONDS: Final = 60.0
"""``last_used_at`` is exact to a minute: one write a minute and key, not one a request."""
_MAX_KEY_CHARS: Final = 512


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

    @property
    def principal(self) -> Principal:
        return Principal(
            key_id=self.key_id,
            user_id=self.user_id,
            tier=self.tier,
            scopes=self.scopes,
            name=self.name,
            expires_at=self.expires_at,
        )


class KeyStore(Protocol):
    """Where keys outlive a restart. Held to one contract suite; see ``tests/guards``."""

    async def put(self, record: KeyRecord) -> None:
        """Add a record, or replace the one with its ``key_id``."""
        ...

    async def find(self, digest: bytes) -> KeyRecord | None:
        """The record with this digest."""
        ...

    async def get(self, key_ids: Iterable[str]) -> dict[str, KeyRecord]:
        """The records with these ids; unknown ids are left out."""
        ...

    async def listing(self) -> list[KeyRecord]:
        """All records, revoked ones too, oldest first."""
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

    async def close(self) -> None: ...


class Keyring:
    """The one place that knows what makes a key valid.

    ``clock`` gives seconds since the epoch; tests pass their own.
    """

    def __init__(
        self, store: KeyStore, pepper: bytes, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.store = store
        self._pepper = pepper
        self._clock = clock
        self._cache: dict[bytes, tuple[float, KeyRecord]] = {}
        self._touched: dict[str, float] = {}

    async def issue(
        self,
        *,
        user_id: str,
        tier: Tier,
        name: str = "",
        scopes: Iterable[str] = (),
        expires_at: datetime | None = None,
        secret: str | None = None,
        key_id: str | None = None,
    ) -> tuple[str, KeyRecord]:
        """Make a key, and return its text, which is nowhere kept, with its record.

        The admin tier carries the admin scope.
        """
        key = secret or mint()
        record = KeyRecord(
            key_id=key_id or f"key_{secrets.token_hex(8)}",
            digest=digest(key, self._pepper),
            hint=hint(key),
            user_id=user_id,
            tier=tier,
            scopes=frozenset(scopes) | ({ADMIN} if tier is Tier.ADMIN else frozenset()),
            name=name,
            created_at=self._now(),
            expires_at=expires_at,
        )
        await self.store.put(record)
        return key, record

    async def authenticate(self, key: str) -> Principal:
        """Who holds this key.

        Raises ``InvalidCredential``, ``KeyRevoked`` or ``ExpiredCredential``.
        """
        if len(key) > _MAX_KEY_CHARS or mistyped(key):
            raise InvalidCredential("This is not a Surtitle API key: it is mistyped or cut short.")
        record = await self._lookup(digest(key, self._pepper))
        if record is None:
            raise InvalidCredential("This API key is not known here.")
        self._require_valid(record)
        await self._touch(record.key_id)
        return record.principal

    async def invalid(self, key_ids: Iterable[str]) -> dict[str, KeyRevoked | ExpiredCredential]:
        """Which of these keys may no longer be used, and why. Asks the store, not the cache."""
        wanted = frozenset(key_ids)
        if not wanted:
            return {}
        records = await self.store.get(wanted)
        found: dict[str, KeyRevoked | ExpiredCredential] = {}
        for key_id in wanted:
            record = records.get(key_id)
            if record is None:
                found[key_id] = KeyRevoked("The API key of this session was deleted.")
                continue
            try:
                self._require_valid(record)
            except (KeyRevoked, ExpiredCredential) as error:
                found[key_id] = error
        return found

    async def revoke(self, key_id: str) -> None:
        """End a key, at once for this process. Raises ``KeyUnknown``."""
        if not await self.store.revoke(key_id, self._now()):
            raise KeyUnknown("No API key has this id.", key_id=key_id)
        self._cache.clear()

    async def has_admin(self) -> bool:
        """Whether any valid key has the admin scope."""
        return any(
            record.revoked_at is None
            and not record.principal.expired(self._clock())
            and record.principal.may(ADMIN)
            for record in await self.store.listing()
        )

    async def ensure_admin(self, given: str | None) -> str | None:
        """Make sure that an admin key exists, and return the text of a newly generated one.

        A given key (``SURTITLE_ADMIN_KEY``) is made to work whatever happened to it before, and
        takes the place of one given earlier. Without one a key is generated the first time only.
        """
        if given is not None:
            existing = await self.store.find(digest(given, self._pepper))
            if existing is not None:
                restored = replace(
                    existing,
                    tier=Tier.ADMIN,
                    scopes=existing.scopes | {ADMIN},
                    expires_at=None,
                    revoked_at=None,
                )
                if restored != existing:
                    await self.store.put(restored)
                    self._cache.clear()
                return None
            await self.issue(
                user_id="admin",
                tier=Tier.ADMIN,
                name="SURTITLE_ADMIN_KEY",
                secret=given,
                key_id="key_environment",
            )
            self._cache.clear()
            return None
        if await self.has_admin():
            return None
        key, _ = await self.issue(user_id="admin", tier=Tier.ADMIN, name="first admin key")
        return key

    async def _lookup(self, wanted: bytes) -> KeyRecord | None:
        now = self._clock()
        cached = self._cache.get(wanted)
        if cached is not None and 0 <= now - cached[0] < CACHE_SECONDS:
            return cached[1]
        record = await self.store.find(wanted)
        # The index found it by equality of digests; compared again in constant time, so that no
        # store's collation or hashing decides who gets in.
        if record is None or not hmac.compare_digest(record.digest, wanted):
            self._cache.pop(wanted, None)
            return None
        if len(self._cache) >= _CACHE_SIZE:
            self._cache.clear()
        self._cache[wanted] = (now, record)
        return record

    def _require_valid(self, record: KeyRecord) -> None:
        if record.revoked_at is not None:
            raise KeyRevoked("This API key was revoked.")
        if record.principal.expired(self._clock()):
            raise ExpiredCredential("This API key has expired.")

    async def _touch(self, key_id: str) -> None:
        now = self._clock()
        if now - self._touched.get(key_id, -_TOUCH_SECONDS) < _TOUCH_SECONDS:
            return
        if len(self._touched) >= _CACHE_SIZE:
            self._touched.clear()
        self._touched[key_id] = now
        try:
            await self.store.touch(key_id, self._now())
        except StoreUnavailable:
            # Bookkeeping alone is no reason to turn a valid key away.
            log.warning("last use not recorded", key_id=key_id, exc_info=True)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
