"""What every key store holds to."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from guards.keys import KeyStore
from guards.principal import ADMIN, STREAM, Tier
from guards.redis.client import RedisHome
from guards.redis.keys import RedisKeyStore
from guards.sqlite import Database
from guards.sqlite_keys import SqliteKeyStore
from tests.guards.records import AT, LATER, record


@pytest.fixture
def store(redis: RedisHome | None, database: Database) -> KeyStore:
    return SqliteKeyStore(database) if redis is None else RedisKeyStore(redis)


async def test_a_record_comes_back_as_it_was(store: KeyStore) -> None:
    await store.put(record())
    assert await store.find(b"\x01" * 32) == record()
    assert await store.get(["key_1", "key_9"]) == {"key_1": record()}
    assert await store.get([]) == {}
    assert await store.find(b"\x09" * 32) is None


async def test_any_number_of_keys_can_be_asked_for_at_once(store: KeyStore) -> None:
    await store.put(record())
    wanted = [f"key_{number}" for number in range(50_000)]
    assert set(await store.get(wanted)) == {"key_1"}


async def test_putting_again_replaces(store: KeyStore) -> None:
    await store.put(record())
    await store.put(record(digest=b"\x07" * 32, tier=Tier.FREE, scopes=frozenset(), limits={}))
    assert await store.find(b"\x01" * 32) is None
    found = await store.find(b"\x07" * 32)
    assert found is not None
    assert found.tier is Tier.FREE
    assert found.scopes == frozenset()
    assert found.limits == {}
    assert len(await store.listing()) == 1


async def test_the_listing_is_oldest_first(store: KeyStore) -> None:
    await store.put(record(1, created_at=LATER))
    await store.put(record(2))
    assert [one.key_id for one in await store.listing()] == ["key_2", "key_1"]


async def test_an_amendment_changes_what_it_names(store: KeyStore) -> None:
    await store.put(record())
    changed = await store.amend(
        "key_1",
        {
            "name": "talk",
            "tier": Tier.ADMIN,
            "scopes": frozenset({ADMIN, STREAM}),
            "expires_at": None,
            "limits": {"streams": 3},
        },
    )
    expected = record(
        name="talk",
        tier=Tier.ADMIN,
        scopes=frozenset({ADMIN, STREAM}),
        expires_at=None,
        limits={"streams": 3},
    )
    assert changed == expected
    assert await store.amend("key_1", {}) == expected
    assert await store.find(b"\x01" * 32) == expected
    assert await store.amend("key_9", {"name": "x"}) is None


async def test_an_amendment_undoes_no_revocation(store: KeyStore) -> None:
    await store.put(record())
    await store.revoke("key_1", AT)
    changed = await store.amend("key_1", {"name": "talk"})
    assert changed is not None
    assert changed.revoked_at == AT


async def test_after_a_rotation_both_secrets_lead_to_the_key(store: KeyStore) -> None:
    await store.put(record())
    rotated = await store.rotate("key_1", digest=b"\x08" * 32, hint="…wxyz", until=LATER)
    assert rotated == record(
        digest=b"\x08" * 32,
        hint="…wxyz",
        previous_digest=b"\x01" * 32,
        previous_until=LATER,
    )
    assert await store.find(b"\x01" * 32) == rotated
    assert await store.find(b"\x08" * 32) == rotated
    assert await store.rotate("key_9", digest=b"\x0a" * 32, hint="…", until=LATER) is None


async def test_another_rotation_leaves_the_first_secret_behind(store: KeyStore) -> None:
    await store.put(record())
    await store.rotate("key_1", digest=b"\x08" * 32, hint="…", until=LATER)
    await store.rotate("key_1", digest=b"\x09" * 32, hint="…", until=LATER + timedelta(days=1))
    assert await store.find(b"\x01" * 32) is None
    for secret in (b"\x08", b"\x09"):
        found = await store.find(secret * 32)
        assert found is not None
        assert found.key_id == "key_1"


async def test_revoking_keeps_the_first_time(store: KeyStore) -> None:
    await store.put(record())
    assert await store.revoke("key_1", AT)
    assert await store.revoke("key_1", LATER)
    assert (await store.get(["key_1"]))["key_1"].revoked_at == AT
    assert not await store.revoke("key_9", AT)


async def test_the_last_use_never_goes_back(store: KeyStore) -> None:
    await store.put(record())
    await store.touch("key_1", LATER)
    await store.touch("key_1", AT)
    assert (await store.get(["key_1"]))["key_1"].last_used_at == LATER


async def test_changes_at_once_all_count(store: KeyStore) -> None:
    await store.put(record())
    moments = [AT + timedelta(seconds=number) for number in range(10)]
    await asyncio.gather(*(store.touch("key_1", at) for at in moments), store.revoke("key_1", AT))
    found = (await store.get(["key_1"]))["key_1"]
    assert (found.last_used_at, found.revoked_at) == (moments[-1], AT)


async def test_it_answers(store: KeyStore) -> None:
    await store.ping()
