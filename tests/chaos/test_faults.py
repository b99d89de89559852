"""What a fault may cost: time, but not a word, and nothing that is held for ever."""

from __future__ import annotations

import pytest

from bench.chaos.hostile import HOSTILE
from bench.chaos.machine import MACHINE
from bench.chaos.scenarios import FAULTS, nothing
from bench.chaos.soak import Soak
from bench.chaos.stage import Outcome, Stage

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="session"),
]


def assert_survived(outcome: Outcome) -> None:
    """Nothing was lost, doubled or kept."""
    assert outcome.text.words > 100, "too little was said for this to mean anything"
    assert outcome.wrong == 0, outcome.details
    assert outcome.doubled == 0, outcome.details
    assert outcome.anew == 0, outcome.saw
    assert outcome.broken_promises == []
    assert outcome.left == {}


@pytest.mark.parametrize("fault", FAULTS)
async def test_nobody_loses_a_word(pair: Stage, fault: str) -> None:
    outcome = await FAULTS[fault](pair)
    print(outcome)
    assert_survived(outcome)


@pytest.mark.parametrize("fault", HOSTILE)
async def test_nobody_suffers_from_others(pair: Stage, fault: str) -> None:
    outcome = await HOSTILE[fault](pair)
    print(outcome)
    assert_survived(outcome)
    assert outcome.recovery == 0.0, "speakers were interrupted"


@pytest.mark.parametrize("fault", MACHINE)
async def test_a_machine_that_changes(lone: Stage, fault: str) -> None:
    outcome = await MACHINE[fault](lone)
    print(outcome)
    assert_survived(outcome)


async def test_the_comparison_finds_nothing_in_nothing(pair: Stage) -> None:
    """Else the others could not be believed."""
    assert_survived(await nothing(pair))


async def test_one_fault_after_the_other(pair: Stage) -> None:
    """The soak of ``bench.chaos``, briefly."""
    outcome = await Soak(pair, minutes=0.75, streams=2, seed=1).run()
    print(outcome)
    assert outcome["struck"] >= 2
    assert outcome["utterances"] >= 10
    assert outcome["correct_share"] == 1.0, outcome["wrong"]
    assert outcome["error_rate"] == 0.0
    assert outcome["doubled"] == 0
    assert outcome["broken_promises"] == []
    assert outcome["left"] == {}
