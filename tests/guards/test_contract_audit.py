"""What every audit log holds to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from guards.audit import AuditEntry, AuditLog
from guards.redis.audit import RedisAuditLog
from guards.redis.client import RedisHome
from guards.sqlite import Database
from guards.sqlite_audit import SqliteAuditLog
from tests.guards.records import AT


def entry(number: int) -> AuditEntry:
    return AuditEntry(
        at=AT + timedelta(seconds=number),
        key_id="key_1",
        user_id="admin",
        action="key.create",
        target=f"key_{number}",
        outcome="done",
        details={"tier": "pro", "name": "São Paulo", "scopes": ["a", "b"], "days": None},
        request_id="r1",
        address="192.0.2.1",
    )


@pytest.fixture
def audit(redis: RedisHome | None, database: Database) -> AuditLog:
    return SqliteAuditLog(database) if redis is None else RedisAuditLog(redis)


async def test_entries_come_back_newest_first_in_pages(audit: AuditLog) -> None:
    for number in range(5):
        await audit.append(entry(number))
    seen: list[AuditEntry] = []
    before = None
    while page := await audit.page(before=before, limit=2):
        assert len(page) <= 2
        seen += page
        before = page[-1].id
    assert [replace(one, id=0) for one in seen] == [entry(number) for number in (4, 3, 2, 1, 0)]
    assert all(newer.id > older.id for newer, older in pairwise(seen))


async def test_an_empty_log(audit: AuditLog) -> None:
    assert await audit.page(before=None, limit=10) == []
