from __future__ import annotations

import pytest

from guards.audit import DONE, AuditEntry, recorded
from guards.errors import KeyUnknown
from tests.guards.records import AT


def entry() -> AuditEntry:
    return AuditEntry(at=AT, key_id="key_1", user_id="admin", action="key.create")


async def test_what_succeeds_and_what_fails_is_written_with_its_outcome() -> None:
    written: list[AuditEntry] = []

    async def append(entry: AuditEntry) -> None:
        written.append(entry)

    async with recorded(append, entry()) as action:
        assert not written
        action.target = "key_2"
    with pytest.raises(KeyUnknown):
        async with recorded(append, entry()):
            raise KeyUnknown("No API key has this id.")
    assert [(one.target, one.outcome) for one in written] == [("key_2", DONE), ("", "key_unknown")]


async def test_a_fault_of_ours_is_not_written_as_done() -> None:
    written: list[AuditEntry] = []

    async def append(entry: AuditEntry) -> None:
        written.append(entry)

    with pytest.raises(ZeroDivisionError):
        async with recorded(append, entry()):
            raise ZeroDivisionError
    assert [one.outcome for one in written] == ["internal_error"]
