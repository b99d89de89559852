from __future__ import annotations

from bench.chaos.leaks import Census

BEFORE = Census({"sessions": 0, "files": 30, "task watch": 1}, memory=400.0)


def test_what_there_is_more_of_is_left() -> None:
    after = Census({"sessions": 1, "files": 30, "task watch": 1, "task run": 2}, memory=420.0)
    assert after.beyond(BEFORE, 48.0) == {"sessions": 1, "task run": 2}
    assert BEFORE.beyond(after, 48.0) == {}


def test_memory_counts_from_a_bound_on() -> None:
    after = Census(BEFORE.counts, memory=449.5)
    assert after.beyond(BEFORE, 48.0) == {"MiB": 49.5}
    assert after.beyond(BEFORE, 50.0) == {}
