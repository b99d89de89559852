from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.load.schedule import choose, largest, offsets, script, scripts

LENGTHS = st.lists(st.floats(2.0, 15.0), min_size=1, max_size=12)


@given(LENGTHS, st.floats(0.0, 100.0), st.integers(0, 99))
def test_a_pool_is_long_enough_or_is_all_there_is(
    lengths: list[float], seconds: float, seed: int
) -> None:
    chosen = choose(lengths, seconds=seconds, seed=seed)
    assert chosen == choose(lengths, seconds=seconds, seed=seed)
    assert len(set(chosen)) == len(chosen)
    total = sum(lengths[index] for index in chosen)
    assert total >= seconds or len(chosen) == len(lengths)
    assert not chosen or total - lengths[chosen[-1]] < seconds


@given(LENGTHS, st.floats(0.1, 200.0), st.integers(0, 99))
def test_a_script_has_no_holes_and_ends_with_its_time(
    lengths: list[float], seconds: float, seed: int
) -> None:
    made = script(3, lengths, seconds=seconds, seed=seed)
    assert made == script(3, lengths, seconds=seconds, seed=seed)
    assert made.lines[0].start == 0
    for one, other in pairwise(made.lines):
        assert other.start == pytest.approx(one.start + lengths[one.utterance])
    assert made.lines[-1].start < seconds <= made.seconds + 1e-9


@given(LENGTHS, st.integers(0, 99))
def test_everything_is_said_once_before_anything_is_said_again(
    lengths: list[float], seed: int
) -> None:
    made = script(0, lengths, seconds=2.5 * sum(lengths), seed=seed)
    said = [line.utterance for line in made.lines]
    size = len(lengths)
    for begin in (0, size):
        assert sorted(said[begin : begin + size]) == list(range(size))


def test_streams_say_different_things() -> None:
    made = scripts(8, [3.0] * 10, seconds=30, ramp=4, seed=1)
    orders = {tuple(line.utterance for line in one.lines) for one in made}
    assert len(orders) == 8


def test_sessions_begin_staggered_and_fall_silent_together() -> None:
    made = scripts(4, [1.0] * 10, seconds=20, ramp=4, seed=1, first=7, after=10)
    assert [one.stream for one in made] == [7, 8, 9, 10]
    assert [one.offset for one in made] == [10, 11, 12, 13]
    assert [one.offset + one.seconds for one in made] == [34, 34, 34, 34]


def test_one_session_begins_at_once() -> None:
    assert offsets(1, 6.0) == [0.0]


def test_there_must_be_something_to_say() -> None:
    with pytest.raises(ValueError, match="nothing to say"):
        script(0, [], seconds=1, seed=1)


@given(st.integers(0, 70), st.integers(1, 64))
def test_the_largest_number_that_holds_is_found_with_few_tries(most: int, limit: int) -> None:
    tried: list[int] = []

    def holds(count: int) -> bool:
        tried.append(count)
        return count <= most

    assert largest(holds, limit=limit) == min(most, limit)
    assert len(set(tried)) == len(tried)
    assert all(count <= limit for count in tried)
    assert len(tried) <= 13
