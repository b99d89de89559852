from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.supervision import (
    Allowance,
    BatchLimit,
    Supervision,
    WatchedTime,
    backoff,
    out_of_memory,
)

POLICY = Supervision(longest=60, shortest=10, factor=10, lowered=60)
durations = st.floats(0.0, 1000.0)


def test_the_first_call_may_take_longest() -> None:
    assert Allowance(POLICY).seconds == 60


@given(st.lists(durations, min_size=1, max_size=200))
def test_an_allowance_is_between_its_bounds_and_above_what_was_seen(took: list[float]) -> None:
    allowance = Allowance(POLICY)
    for seconds in took:
        allowance.note(seconds)
    assert 10 <= allowance.seconds <= 60
    slowest = max(took[-64:])
    assert allowance.seconds == 60 or allowance.seconds >= 10 * slowest


@given(st.lists(st.floats(0.0, 0.9), min_size=64, max_size=64), durations)
def test_slow_calls_of_long_ago_are_forgotten(took: list[float], slow: float) -> None:
    allowance = Allowance(POLICY)
    for seconds in [slow, *took]:
        allowance.note(seconds)
    assert allowance.seconds == 10


def test_a_short_bound_goes_before_the_shortest_allowance() -> None:
    allowance = Allowance(Supervision(longest=2, shortest=10))
    allowance.note(0.1)
    assert allowance.seconds == 2


@given(st.lists(st.floats(-10.0, 1e6), max_size=50))
def test_time_that_nobody_watched_does_not_count(steps: list[float]) -> None:
    watched, now, before = WatchedTime(0.5), 1000.0, 0.0
    watched.look(now)
    for step in steps:
        now += step
        seen = watched.look(now)
        assert 0.0 <= seen - before <= min(1.0, max(0.0, step)) + 1e-6
        before = seen


@given(
    st.lists(st.tuples(st.integers(1, 64), st.floats(0.0, 100.0)), min_size=1, max_size=20),
    st.integers(1, 64),
)
def test_batches_are_smaller_for_a_while(events: list[tuple[int, float]], most: int) -> None:
    limit, now = BatchLimit(POLICY), 0.0
    assert limit.of(most, now) == most
    for rows, later in events:
        now += later
        limit.ran_out(rows, now)
        assert 1 <= limit.of(most, now) <= min(most, max(1, rows // 2))
        assert limit.of(most, now + 59) == limit.of(most, now)
    assert limit.of(most, now + 60) == most


def test_shortages_in_a_row_lower_it_further() -> None:
    limit = BatchLimit(POLICY)
    limit.ran_out(8, 0.0)
    limit.ran_out(16, 1.0)
    assert limit.of(32, 2.0) == 4
    limit.ran_out(4, 3.0)
    assert limit.of(32, 4.0) == 2


@given(st.integers(0, 10_000))
def test_backing_off_is_bounded_and_does_not_shrink(failures: int) -> None:
    assert 0 <= backoff(failures) <= backoff(failures + 1) <= 30


def test_the_first_replacement_comes_at_once() -> None:
    assert [backoff(n) for n in (0, 1, 2, 3)] == [0, 0, 0.5, 1.0]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA failed with error out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[ONNXRuntimeError] : Failed to allocate memory for requested buffer of size"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_out_of_memory_in_every_librarys_words(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize(
    "error", [RuntimeError("bad row"), ValueError("out of memory"), KeyError("std::bad_alloc")]
)
def test_other_errors(error: Exception) -> None:
    assert not out_of_memory(error)
