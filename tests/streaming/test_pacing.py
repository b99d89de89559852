from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.pacing import Pace


@given(st.lists(st.tuples(st.floats(0.0, 0.1), st.floats(0.0, 0.1)), max_size=30))
def test_a_server_that_keeps_up_is_asked_at_fixed_places(taken: list[tuple[float, float]]) -> None:
    pace = Pace(400)
    assert not any(pace.take(waited, lag) for waited, lag in taken)
    assert pace.interval_ms == 400


@given(st.lists(st.tuples(st.floats(0.0, 60.0), st.floats(0.0, 60.0)), max_size=30))
def test_partials_never_come_oftener_than_asked_for_or_less_than_every_ten_seconds(
    taken: list[tuple[float, float]],
) -> None:
    pace = Pace(400)
    for waited, lag in taken:
        pace.take(waited, lag)
        assert 400 <= pace.interval_ms <= 10_000


@pytest.mark.parametrize("late", [(1.0, 0.0), (0.0, 1.0)])
def test_they_become_rarer_at_once_and_oftener_by_and_by(late: tuple[float, float]) -> None:
    pace = Pace(400)
    pace.take(*late)
    slow = pace.interval_ms
    assert slow > 1000
    pace.take(0.0)
    assert 400 < pace.interval_ms < slow
    for _ in range(20):
        pace.take(0.0)
    assert pace.interval_ms == 400


def test_degradation_is_told_once_each_way() -> None:
    pace = Pace(400)
    told = [pace.take(0.6) for _ in range(8)]
    assert told.count(True) == 1
    assert pace.degraded
    told = [pace.take(0.0) for _ in range(30)]
    assert told.count(True) == 1
    assert not pace.degraded
