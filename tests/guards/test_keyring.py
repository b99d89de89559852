from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from guards.errors import (
    ExpiredCredential,
    InvalidCredential,
    KeyFixed,
    KeyRevoked,
    KeyUnknown,
    StoreUnavailable,
)
from guards.keyring import CACHE_SECONDS, ENVIRONMENT_KEY, Keyring
from guards.principal import ADMIN, STREAM, WORK, Tier
from guards.secrets import PREFIX, mint
from guards.sqlite import Database
from guards.sqlite_keys import SqliteKeyStore
from tests.clock import Clock

PEPPER = b"p" * 32


@pytest.fixture
async def keyring(tmp_path: Path, clock: Clock) -> AsyncIterator[Keyring]:
    database = await Database.open(tmp_path / "surtitle.db")
    yield Keyring(SqliteKeyStore(database), PEPPER, clock=clock)
    await database.close()


async def test_an_issued_key_authenticates_and_is_nowhere_kept(
    keyring: Keyring, tmp_path: Path
) -> None:
    key, record = await keyring.issue(user_id="ana", tier=Tier.PRO, name="talk")
    principal = await keyring.authenticate(key)
    assert (principal.user_id, principal.tier, principal.name) == ("ana", Tier.PRO, "talk")
    assert principal.key_id == record.key_id
    assert not principal.may(ADMIN)
    for file in list(tmp_path.iterdir()):  # noqa: ASYNC240 - a test directory
        assert key.encode() not in file.read_bytes()
        assert key[len(PREFIX) : -6].encode() not in file.read_bytes()


@pytest.mark.parametrize("key", [mint(), f"{PREFIX}typo", "something else", "x" * 600, "é"])
async def test_an_unknown_key_is_refused(keyring: Keyring, key: str) -> None:
    with pytest.raises(InvalidCredential):
        await keyring.authenticate(key)


async def test_the_digest_of_another_pepper_is_not_accepted(keyring: Keyring) -> None:
    key, _ = await keyring.issue(user_id="ana", tier=Tier.FREE)
    with pytest.raises(InvalidCredential):
        await Keyring(keyring.store, b"q" * 32).authenticate(key)


async def test_a_key_expires(keyring: Keyring, clock: Clock) -> None:
    expires_at = datetime.fromtimestamp(clock.now + 10, UTC)
    key, record = await keyring.issue(user_id="ana", tier=Tier.FREE, expires_at=expires_at)
    await keyring.authenticate(key)
    clock.now += 10
    with pytest.raises(ExpiredCredential):
        await keyring.authenticate(key)
    assert isinstance((await keyring.invalid([record.key_id]))[record.key_id], ExpiredCredential)


async def test_a_revoked_key_is_refused_at_once_by_who_revoked_it(keyring: Keyring) -> None:
    key, record = await keyring.issue(user_id="ana", tier=Tier.FREE)
    await keyring.authenticate(key)
    await keyring.revoke(record.key_id)
    with pytest.raises(KeyRevoked):
        await keyring.authenticate(key)


async def test_another_process_sees_a_revocation_when_its_cache_is_over(
    keyring: Keyring, clock: Clock
) -> None:
    other = Keyring(keyring.store, PEPPER, clock=clock)
    key, record = await keyring.issue(user_id="ana", tier=Tier.FREE)
    await other.authenticate(key)
    await keyring.revoke(record.key_id)
    clock.now += CACHE_SECONDS
    with pytest.raises(KeyRevoked):
        await other.authenticate(key)


async def test_running_sessions_are_checked_against_the_store(keyring: Keyring) -> None:
    _, good = await keyring.issue(user_id="ana", tier=Tier.FREE)
    key, bad = await keyring.issue(user_id="ana", tier=Tier.FREE)
    await keyring.authenticate(key)
    await keyring.store.revoke(bad.key_id, datetime.now(UTC))
    invalid = await keyring.invalid([good.key_id, bad.key_id, "key_deleted"])
    assert set(invalid) == {bad.key_id, "key_deleted"}
    assert isinstance(invalid[bad.key_id], KeyRevoked)
    assert await keyring.invalid([]) == {}


async def test_revoking_an_unknown_key(keyring: Keyring) -> None:
    with pytest.raises(KeyUnknown):
        await keyring.revoke("key_none")


async def test_the_last_use_is_written_once_a_minute(keyring: Keyring, clock: Clock) -> None:
    key, record = await keyring.issue(user_id="ana", tier=Tier.FREE)

    async def used() -> float:
        found = (await keyring.store.get([record.key_id]))[record.key_id].last_used_at
        assert found is not None
        return found.timestamp()

    first = clock.now
    await keyring.authenticate(key)
    clock.now += 59
    await keyring.authenticate(key)
    assert await used() == first
    clock.now += 1
    await keyring.authenticate(key)
    assert await used() == clock.now


async def test_failing_bookkeeping_turns_nobody_away(
    keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, _ = await keyring.issue(user_id="ana", tier=Tier.FREE)

    async def fail(*_: object) -> None:
        raise StoreUnavailable("full")

    monkeypatch.setattr(keyring.store, "touch", fail)
    assert (await keyring.authenticate(key)).user_id == "ana"


async def test_the_first_admin_key_is_generated_once(keyring: Keyring) -> None:
    key = await keyring.ensure_admin(None)
    assert key is not None
    assert (await keyring.authenticate(key)).may(ADMIN)
    assert await keyring.ensure_admin(None) is None


async def test_another_is_generated_when_the_only_one_was_revoked(keyring: Keyring) -> None:
    key = await keyring.ensure_admin(None)
    assert key is not None
    await keyring.revoke((await keyring.authenticate(key)).key_id)
    assert await keyring.ensure_admin(None) is not None


async def test_a_given_admin_key_works_whatever_happened_to_it(keyring: Keyring) -> None:
    assert await keyring.ensure_admin("chosen") is None
    principal = await keyring.authenticate("chosen")
    assert principal.may(ADMIN)
    await keyring.revoke(principal.key_id)
    with pytest.raises(KeyRevoked):
        await keyring.authenticate("chosen")
    assert await keyring.ensure_admin("chosen") is None
    assert (await keyring.authenticate("chosen")).may(ADMIN)


async def test_a_newly_given_admin_key_takes_the_place_of_the_old(keyring: Keyring) -> None:
    await keyring.ensure_admin("first")
    await keyring.authenticate("first")
    await keyring.ensure_admin("second")
    assert (await keyring.authenticate("second")).may(ADMIN)
    with pytest.raises(InvalidCredential):
        await keyring.authenticate("first")


async def test_without_scopes_a_key_may_do_all_work(keyring: Keyring) -> None:
    _, usual = await keyring.issue(user_id="ana", tier=Tier.FREE)
    assert usual.scopes == WORK
    _, narrow = await keyring.issue(user_id="ana", tier=Tier.FREE, scopes=[STREAM])
    assert narrow.scopes == {STREAM}
    _, admin = await keyring.issue(user_id="ana", tier=Tier.ADMIN, scopes=[STREAM])
    assert admin.scopes == {STREAM, ADMIN}


async def test_a_key_is_amended_at_once(keyring: Keyring) -> None:
    key, record = await keyring.issue(user_id="ana", tier=Tier.FREE)
    await keyring.authenticate(key)
    await keyring.amend(record.key_id, {"tier": Tier.PRO, "limits": {"streams": 9}})
    principal = await keyring.authenticate(key)
    assert (principal.tier, principal.limits) == (Tier.PRO, {"streams": 9})
    assert principal.scopes == WORK
    with pytest.raises(KeyUnknown):
        await keyring.amend("key_none", {"name": "x"})


async def test_who_leaves_the_admin_tier_is_no_administrator(keyring: Keyring) -> None:
    key, record = await keyring.issue(user_id="ana", tier=Tier.ADMIN)
    changed = await keyring.amend(record.key_id, {"tier": Tier.PRO})
    assert changed.scopes == WORK
    assert not (await keyring.authenticate(key)).may(ADMIN)
    back = await keyring.amend(record.key_id, {"tier": Tier.ADMIN})
    assert back.principal.may(ADMIN)
    none = await keyring.amend(record.key_id, {"tier": Tier.PRO, "scopes": frozenset()})
    assert none.scopes == WORK


async def test_a_rotated_key_has_two_secrets_for_a_while(keyring: Keyring, clock: Clock) -> None:
    old, record = await keyring.issue(user_id="ana", tier=Tier.FREE)
    await keyring.authenticate(old)
    new, rotated = await keyring.rotate(record.key_id, overlap=60)
    assert rotated.key_id == record.key_id
    assert rotated.hint != record.hint
    assert (await keyring.authenticate(new)).key_id == record.key_id
    clock.now += 59
    assert (await keyring.authenticate(old)).key_id == record.key_id
    clock.now += 1
    with pytest.raises(ExpiredCredential, match="rotated"):
        await keyring.authenticate(old)
    await keyring.authenticate(new)
    assert await keyring.invalid([record.key_id]) == {}


async def test_a_rotation_without_overlap_ends_the_old_secret_at_once(keyring: Keyring) -> None:
    old, record = await keyring.issue(user_id="ana", tier=Tier.FREE)
    await keyring.authenticate(old)
    await keyring.rotate(record.key_id, overlap=0)
    with pytest.raises(ExpiredCredential):
        await keyring.authenticate(old)


async def test_a_revoked_key_has_no_valid_secret(keyring: Keyring) -> None:
    old, record = await keyring.issue(user_id="ana", tier=Tier.FREE)
    new, _ = await keyring.rotate(record.key_id, overlap=60)
    await keyring.revoke(record.key_id)
    for key in (old, new):
        with pytest.raises(KeyRevoked):
            await keyring.authenticate(key)
    with pytest.raises(KeyRevoked):
        await keyring.rotate(record.key_id, overlap=0)


async def test_the_key_that_is_a_setting_is_not_rotated_here(keyring: Keyring) -> None:
    await keyring.ensure_admin("chosen")
    with pytest.raises(KeyFixed):
        await keyring.rotate(ENVIRONMENT_KEY, overlap=0)


async def test_a_rotated_key_given_as_admin_key_works_with_the_secret_given(
    keyring: Keyring, clock: Clock
) -> None:
    old, record = await keyring.issue(user_id="ana", tier=Tier.FREE)
    new, _ = await keyring.rotate(record.key_id, overlap=60)
    await keyring.ensure_admin(old)
    clock.now += 61
    assert (await keyring.authenticate(old)).may(ADMIN)
    with pytest.raises(ExpiredCredential):
        await keyring.authenticate(new)


async def test_the_holder_of_a_key_is_known_by_its_id(keyring: Keyring, clock: Clock) -> None:
    _, record = await keyring.issue(user_id="ana", tier=Tier.FREE)
    assert (await keyring.holder(record.key_id)).user_id == "ana"
    await keyring.store.revoke(record.key_id, datetime.now(UTC))
    clock.now += CACHE_SECONDS
    with pytest.raises(KeyRevoked):
        await keyring.holder(record.key_id)
    with pytest.raises(KeyRevoked, match="deleted"):
        await keyring.holder("key_none")


async def test_an_issued_key_given_as_admin_key_becomes_one(keyring: Keyring) -> None:
    key, record = await keyring.issue(user_id="ana", tier=Tier.FREE)
    await keyring.ensure_admin(key)
    principal = await keyring.authenticate(key)
    assert principal.may(ADMIN)
    assert principal.key_id == record.key_id
