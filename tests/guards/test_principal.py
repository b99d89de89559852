from __future__ import annotations

from datetime import UTC, datetime

from guards.principal import ADMIN, Principal, Tier


def test_scopes_and_expiry() -> None:
    expires_at = datetime.fromtimestamp(100, UTC)
    principal = Principal("key", "ana", Tier.PRO, frozenset({ADMIN}), expires_at=expires_at)
    assert principal.may(ADMIN)
    assert not principal.may("other")
    assert not principal.expired(99.9)
    assert principal.expired(100.0)
    assert not Principal("key", "ana", Tier.PRO).expired(1e12)
