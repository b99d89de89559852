from __future__ import annotations

from bench.chaos.leaks import MEMORY, Census

BEFORE = Census({"sessions": 0, "files": 30, "task watch": 1}, memory=400.0)


def test_what_there_is_more_of_is_left() -> None:
    after = Census({"sessions": 1, "files": 30, "task watch": 1, "task run": 2}, memory=420.0)
    assert after.beyond(BEFORE) == {"sessions": 1, "task run": 2}
    assert BEFORE.beyond(after) == {}


def test_memory_counts_from_a_bound_on() -> None:
    after = Census(BEFORE.counts, memory=400.5 + MEMORY)
    assert after.beyond(BEFORE) == {"MiB": MEMORY + 0.5}
    assert Census(BEFORE.counts, memory=399.5 + MEMORY).beyond(BEFORE) == {}


def test_a_replica_that_replaced_another_and_stayed_is_left() -> None:
    after = Census({**BEFORE.counts, "native threads": 9}, memory=540.0)
    before = Census({**BEFORE.counts, "native threads": 8}, memory=400.0)
    assert after.beyond(before) == {"native threads": 1, "MiB": 140.0}
