from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.pace import Pace


def test_as_many_as_in_two_seconds_may_come_at_once() -> None:
    pace = Pace(10)
    assert [pace.delay(0) for _ in range(20)] == [0] * 20
    assert pace.delay(0) == pytest.approx(0.1)


def test_who_keeps_the_rate_never_waits() -> None:
    pace = Pace(10)
    assert [pace.delay(number / 10) for number in range(1000)] == [0] * 1000


def test_a_clock_that_goes_back_gives_nothing() -> None:
    pace = Pace(10)
    for _ in range(20):
        pace.delay(100)
    assert pace.delay(0) > 0


@given(gaps=st.lists(st.floats(0, 1), min_size=1, max_size=300), rate=st.floats(0.5, 100))
def test_who_waits_as_told_is_never_faster_than_the_rate(gaps: list[float], rate: float) -> None:
    pace, now = Pace(rate), 0.0
    taken = []
    for gap in gaps:
        now += gap
        now += pace.delay(now)
        taken.append(now)
    for start in range(len(taken)):
        seconds = taken[-1] - taken[start]
        assert len(taken) - start <= rate * seconds + rate * 2 + 1 + 1e-6
