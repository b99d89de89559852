from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.health import Ask, Check, Reporter, State, grade, measured, stated, summed_up
from tests.clock import Clock

STATES: list[State] = ["ok", "degraded", "critical"]
checks = st.builds(
    lambda name, status: stated(name, status, f"{name} is bad"),
    st.text(min_size=1),
    st.sampled_from(STATES),
)
rising = st.tuples(st.floats(0, 100), st.floats(0, 100)).map(sorted).map(tuple)


@given(st.lists(checks))
def test_a_report_is_as_bad_as_its_worst_check_and_says_why(found: list[Check]) -> None:
    report = summed_up(found)
    ranks = [STATES.index(check.status) for check in found]
    assert STATES.index(report.status) == max(ranks, default=0)
    assert len(report.reasons) == sum(rank > 0 for rank in ranks)
    critical = [check.reason for check in found if check.status == "critical"]
    assert list(report.reasons[: len(critical)]) == critical
    assert list(report.checks) == found


@given(st.floats(0, 200), st.floats(0, 200), rising)
def test_a_worse_value_is_no_better(
    one: float, other: float, thresholds: tuple[float, float]
) -> None:
    low, high = sorted((one, other))
    assert STATES.index(grade(low, thresholds)) <= STATES.index(grade(high, thresholds))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (79.9, "ok"),
        (80, "degraded"),
        (94.9, "degraded"),
        (95, "critical"),
        (float("nan"), "critical"),
    ],
)
def test_thresholds_belong_to_what_is_worse(value: float, expected: State) -> None:
    check = measured("cpu", value, "percent", (80, 95), "too much")
    assert (check.status, check.warn, check.critical) == (expected, 80, 95)
    assert check.reason == (None if expected == "ok" else "too much")


class Asked:
    """A check that waits for a gate, and counts."""

    def __init__(self, *, shut: bool = False) -> None:
        self.times = 0
        self.gate = asyncio.Event()
        if not shut:
            self.gate.set()

    async def __call__(self) -> Iterable[Check]:
        self.times += 1
        await self.gate.wait()
        return [stated("thing", "ok", "")]


async def test_whoever_asks_within_a_second_is_given_the_same() -> None:
    asked, clock = Asked(), Clock()
    reporter = Reporter({"thing": asked}, clock=clock)
    first = await reporter.report()
    clock.now += 0.9
    assert await reporter.report() is first
    clock.now += 0.2
    assert await reporter.report() is not first
    assert asked.times == 2


async def test_many_who_ask_at_once_are_one_question_and_whoever_leaves_takes_nothing() -> None:
    asked = Asked(shut=True)
    reporter = Reporter({"thing": asked}, clock=Clock())
    waiting = [asyncio.create_task(reporter.report()) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    asked.gate.set()
    reports = await asyncio.gather(*waiting[1:])
    assert asked.times == 1
    assert len({id(report) for report in reports}) == 1


async def test_what_cannot_be_found_out_is_critical_and_holds_up_nothing_else() -> None:
    async def broken() -> Iterable[Check]:
        raise RuntimeError("secret")

    asks: dict[str, Ask] = {"slow": Asked(shut=True), "broken": broken, "thing": Asked()}
    report = await Reporter(asks, timeout=0.0).report()
    assert report.status == "critical"
    by_name = {check.name: check for check in report.checks}
    assert by_name["slow"].status == by_name["broken"].status == "critical"
    assert by_name["thing"].status == "ok"
    assert "secret" not in " ".join(report.reasons)
