"""API keys: issuing, checking, changing and revoking them, over any :class:`KeyStore`."""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from guards.errors import (
    ExpiredCredential,
    InvalidCredential,
    KeyFixed,
    KeyRevoked,
    KeyUnknown,
    StoreUnavailable,
)
from guards.keys import KeyChanges, KeyRecord, KeyStore
from guards.principal import ADMIN, Principal, Tier, effective_scopes
from guards.secrets import digest, hint, mint, mistyped

log = structlog.get_logger(__name__)

CACHE_SECONDS: Final = 2.0
"""How long a found key is believed without asking the store: revoking is seen within this."""

_CACHE_SIZE: Final = 10_000
_TOUCH_SECONDS: Final = 60.0
"""``last_used_at`` is exact to a minute: one write a minute and key, not one a request."""
_MAX_KEY_CHARS: Final = 512

ENVIRONMENT_KEY: Final = "key_environment"
"""The id of the key that is ``SURTITLE_ADMIN_KEY``."""


class Keyring:
    """The one place that knows what makes a key valid.

    ``believe_known`` lets keys that were found before work while the store is away. ``clock``
    gives seconds since the epoch; tests pass their own.
    """

    def __init__(
        self,
        store: KeyStore,
        pepper: bytes,
        *,
        believe_known: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self._pepper = pepper
        self._believe_known = believe_known
        self._clock = clock
        self._cache: dict[bytes, tuple[float, KeyRecord]] = {}
        self._by_id: dict[str, tuple[float, KeyRecord]] = {}
        self._touched: dict[str, float] = {}

    async def issue(
        self,
        *,
        user_id: str,
        tier: Tier,
        name: str = "",
        scopes: Iterable[str] = (),
        expires_at: datetime | None = None,
        limits: Mapping[str, int] | None = None,
        secret: str | None = None,
        key_id: str | None = None,
    ) -> tuple[str, KeyRecord]:
        """Make a key, and return its text, which is nowhere kept, with its record.

        Without scopes it may do all work; the admin tier carries the admin scope.
        """
        key = secret or mint()
        record = KeyRecord(
            key_id=key_id or f"key_{secrets.token_hex(8)}",
            digest=digest(key, self._pepper),
            hint=hint(key),
            user_id=user_id,
            tier=tier,
            scopes=effective_scopes(scopes, tier),
            name=name,
            created_at=self._now(),
            expires_at=expires_at,
            limits=dict(limits or {}),
        )
        await self.store.put(record)
        return key, record

    async def authenticate(self, key: str) -> Principal:
        """Who holds this key.

        Raises ``InvalidCredential``, ``KeyRevoked`` or ``ExpiredCredential``.
        """
        if len(key) > _MAX_KEY_CHARS or mistyped(key):
            raise InvalidCredential("This is not a Surtitle API key: it is mistyped or cut short.")
        wanted = digest(key, self._pepper)
        record = await self._lookup(wanted)
        if record is None:
            raise InvalidCredential("This API key is not known here.")
        self._require_valid(record)
        self._require_current(record, wanted)
        await self._touch(record.key_id)
        return record.principal

    async def holder(self, key_id: str) -> Principal:
        """Who holds the key of this id, for a token that was made with it.

        Raises as :meth:`authenticate` does.
        """
        record = await self._known(key_id)
        self._require_valid(record)
        await self._touch(key_id)
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

    async def show(self, key_id: str) -> KeyRecord:
        """What is kept of a key. Raises ``KeyUnknown``."""
        return _existing((await self.store.get([key_id])).get(key_id))

    async def amend(self, key_id: str, changes: KeyChanges) -> KeyRecord:
        """Change a key, at once for this process. Raises ``KeyUnknown``.

        As when a key is issued: no scopes are the usual ones, and the admin tier carries its own.
        """
        if "scopes" in changes or "tier" in changes:
            before = await self.show(key_id)
            tier = changes.get("tier", before.tier)
            # Who is an administrator no longer must not stay one by the scope of the tier.
            kept = before.scopes - ({ADMIN} if before.tier is Tier.ADMIN else frozenset())
            changes = {**changes, "scopes": effective_scopes(changes.get("scopes", kept), tier)}
        record = _existing(await self.store.amend(key_id, changes))
        self._forget()
        return record

    async def rotate(self, key_id: str, *, overlap: float) -> tuple[str, KeyRecord]:
        """Give a key a new secret; the old one is good for ``overlap`` more seconds.

        Running sessions and tokens go on: they are the key's, not the secret's. Raises
        ``KeyUnknown``, ``KeyRevoked``, and ``KeyFixed`` for the one that is a setting.
        """
        if key_id == ENVIRONMENT_KEY:
            raise KeyFixed("This key is rotated by setting another SURTITLE_ADMIN_KEY.")
        if (await self.show(key_id)).revoked_at is not None:
            raise KeyRevoked("This API key was revoked.")
        key = mint()
        until = self._now() + timedelta(seconds=overlap)
        record = _existing(
            await self.store.rotate(
                key_id, digest=digest(key, self._pepper), hint=hint(key), until=until
            )
        )
        self._forget()
        return key, record

    async def revoke(self, key_id: str) -> None:
        """End a key, at once for this process. Raises ``KeyUnknown``."""
        if not await self.store.revoke(key_id, self._now()):
            raise _unknown()
        self._forget()

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
            given_digest = digest(given, self._pepper)
            existing = await self.store.find(given_digest)
            if existing is not None:
                restored = replace(
                    _as_current(existing, given_digest),
                    tier=Tier.ADMIN,
                    scopes=existing.scopes | {ADMIN},
                    expires_at=None,
                    revoked_at=None,
                )
                if restored != existing:
                    await self.store.put(restored)
                    self._forget()
                return None
            await self.issue(
                user_id="admin",
                tier=Tier.ADMIN,
                name="SURTITLE_ADMIN_KEY",
                secret=given,
                key_id=ENVIRONMENT_KEY,
            )
            self._forget()
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
        try:
            record = await self.store.find(wanted)
        except StoreUnavailable:
            if cached is None or not self._believe_known:
                raise
            return cached[1]
        # The index found it by equality of digests; compared again in constant time, so that no
        # store's collation or hashing decides who gets in.
        if record is None or not (
            hmac.compare_digest(record.digest, wanted)
            or hmac.compare_digest(record.previous_digest or b"", wanted)
        ):
            self._cache.pop(wanted, None)
            return None
        if len(self._cache) >= _CACHE_SIZE:
            self._cache.clear()
        self._cache[wanted] = (now, record)
        return record

    async def _known(self, key_id: str) -> KeyRecord:
        now = self._clock()
        cached = self._by_id.get(key_id)
        if cached is not None and 0 <= now - cached[0] < CACHE_SECONDS:
            return cached[1]
        try:
            record = (await self.store.get([key_id])).get(key_id)
        except StoreUnavailable:
            if cached is None or not self._believe_known:
                raise
            return cached[1]
        if record is None:
            raise KeyRevoked("The API key of this token was deleted.")
        if len(self._by_id) >= _CACHE_SIZE:
            self._by_id.clear()
        self._by_id[key_id] = (now, record)
        return record

    def _forget(self) -> None:
        self._cache.clear()
        self._by_id.clear()

    def _require_valid(self, record: KeyRecord) -> None:
        if record.revoked_at is not None:
            raise KeyRevoked("This API key was revoked.")
        if record.principal.expired(self._clock()):
            raise ExpiredCredential("This API key has expired.")

    def _require_current(self, record: KeyRecord, used: bytes) -> None:
        """The secret before a rotation is good for the overlap and no longer."""
        if hmac.compare_digest(record.digest, used):
            return
        if record.previous_until is None or record.previous_until <= self._now():
            raise ExpiredCredential("This API key was rotated: it has a new secret.")

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


def _as_current(record: KeyRecord, wanted: bytes) -> KeyRecord:
    """The record with the digest it was found by as its current one."""
    if record.digest == wanted:
        return record
    return replace(record, digest=wanted, previous_digest=record.digest)


def _existing(record: KeyRecord | None) -> KeyRecord:
    if record is None:
        raise _unknown()
    return record


def _unknown() -> KeyUnknown:
    # Without the id that was asked for: people put keys in its place.
    return KeyUnknown("No API key has this id.")
