from __future__ import annotations

from datetime import UTC, datetime

from guards.principal import ADMIN, SCOPES, STREAM, TRANSLATE, Principal, Tier


def test_scopes_and_expiry() -> None:
    expires_at = datetime.fromtimestamp(100, UTC)
    principal = Principal("key", "ana", Tier.PRO, frozenset({ADMIN}), expires_at=expires_at)
    assert all(map(principal.may, SCOPES))
    assert not Principal("key", "ana", Tier.PRO, frozenset({STREAM})).may(TRANSLATE)
    assert not principal.expired(99.9)
    assert principal.expired(100.0)
    assert not Principal("key", "ana", Tier.PRO).expired(1e12)
