from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from app.sessions import LiveSession, SessionRegistry, end_invalid
from guards.errors import Draining, KeyRevoked
from guards.keyring import Keyring
from guards.principal import Principal, Tier
from guards.sqlite import Database
from guards.sqlite_keys import SqliteKeyStore
from streaming.errors import SurtitleError


def live(number: int, ended: list[SurtitleError], key_id: str = "key_1") -> LiveSession:
    principal = Principal(key_id=key_id, user_id="ana", tier=Tier.FREE)
    return LiveSession(id=f"s{number}", principal=principal, end=ended.append)


async def test_sessions_are_counted_while_they_run() -> None:
    registry = SessionRegistry()
    with registry.running(live(1, [])), registry.running(live(2, [])):
        assert len(registry) == 2
        assert {session.id for session in registry} == {"s1", "s2"}
        with pytest.raises(ValueError, match="running already"), registry.running(live(1, [])):
            pass
    assert len(registry) == 0


async def test_a_session_is_ended_once() -> None:
    registry = SessionRegistry()
    ended: list[SurtitleError] = []
    with registry.running(live(1, ended)):
        assert registry.end("s1", KeyRevoked("gone"))
        assert registry.end("s1", Draining("away"))
    assert [error.code for error in ended] == ["key_revoked"]
    assert not registry.end("s1", KeyRevoked("gone"))


async def test_a_drain_ends_all_waits_for_them_and_takes_no_more() -> None:
    registry = SessionRegistry()
    ended: list[SurtitleError] = []
    with registry.running(live(1, ended)):
        drain = asyncio.create_task(registry.drain(60))
        await asyncio.sleep(0)  # the drain begins
        assert ended
        assert not drain.done()
        with pytest.raises(Draining), registry.running(live(2, [])):
            pass
    assert await drain
    assert [error.code for error in ended] == ["draining"]


async def test_a_drain_does_not_wait_for_ever() -> None:
    registry = SessionRegistry()
    with registry.running(live(1, [])):
        assert not await registry.drain(0)


async def test_sessions_of_a_revoked_key_end(tmp_path: Path) -> None:
    database = await Database.open(tmp_path / "keys.db")
    keyring = Keyring(SqliteKeyStore(database), b"p" * 32)
    _, good = await keyring.issue(user_id="ana", tier=Tier.FREE)
    _, bad = await keyring.issue(user_id="ana", tier=Tier.FREE)
    registry = SessionRegistry()
    kept: list[SurtitleError] = []
    ended: list[SurtitleError] = []
    with (
        registry.running(live(1, kept, good.key_id)),
        registry.running(live(2, ended, bad.key_id)),
    ):
        await end_invalid(registry, keyring)
        assert not ended
        await keyring.revoke(bad.key_id)
        await end_invalid(registry, keyring)
        await end_invalid(registry, keyring)
    assert [error.code for error in ended] == ["key_revoked"]
    assert not kept
    await database.close()
