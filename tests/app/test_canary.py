from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from app.canary import Canary, Probe, Vital
from streaming.errors import ModelUnavailable
from tests.clock import Clock


class Model:
    """Answers, fails or is silent; ``worked_at`` is when it last worked for somebody else."""

    def __init__(self) -> None:
        self.worked_at: float | None = None
        self.asked: list[int] = []
        self.error: Exception | None = None
        self.silent = False
        self.arrived = asyncio.Event()

    async def ask(self, number: int) -> None:
        self.asked.append(number)
        self.arrived.set()
        if self.silent:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    def probe(self, *, needed: bool = True) -> Probe:
        return Probe("speech", self.ask, lambda: self.worked_at, needed=needed)


def canary(*probes: Probe, clock: Clock, timeout: float = 60.0) -> Canary:
    return Canary(probes, interval=30, timeout=timeout, clock=clock)


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 100)), max_size=20))
def test_the_last_thing_known_counts(events: list[tuple[bool, float]]) -> None:
    now, vital = 0.0, Vital(0.0)
    for answered, later in events:
        now += later
        if answered:
            vital.note_answer(now)
        else:
            vital.note_failure(now, "no")
    assert (vital.failed is None) is (not events or events[-1][0])
    assert 0 <= vital.due(now, 30) <= 30.001


async def test_a_model_that_works_for_others_is_not_asked() -> None:
    model, clock = Model(), Clock()
    probe = model.probe()
    watched = canary(probe, clock=clock)
    clock.now += 29
    assert watched.vital(probe).due(clock.now, 30) == 1
    model.worked_at = clock.now
    assert watched.vital(probe).due(clock.now, 30) == 30


async def test_a_model_that_fails_does_not_answer_until_it_does() -> None:
    model, clock = Model(), Clock()
    probe = model.probe()
    watched = canary(probe, clock=clock)
    model.error = ModelUnavailable("gone")
    await watched.ask(probe)
    assert watched.answering is False
    assert watched.vital(probe).reason == "speech answered with model_unavailable"
    states = [(watched.answering, watched.deaf)]
    clock.now += 61
    states.append((watched.answering, watched.deaf))
    model.worked_at = clock.now  # for somebody else
    states.append((watched.answering, watched.deaf))
    await watched.ask(probe)
    model.error = None
    await watched.ask(probe)
    clock.now += 61
    states.append((watched.answering, watched.deaf))
    assert states == [(False, False), (False, True), (True, False), (True, False)]


async def test_silence_is_no_answer() -> None:
    model = Model()
    model.silent = True
    probe = model.probe()
    watched = canary(probe, clock=Clock(), timeout=0.0)
    await watched.ask(probe)
    assert not watched.answering
    assert "did not answer within" in watched.vital(probe).reason


async def test_a_model_that_is_not_needed_makes_nothing_unready() -> None:
    model = Model()
    model.error = ModelUnavailable("gone")
    probe = model.probe(needed=False)
    watched = canary(probe, clock=Clock())
    await watched.ask(probe)
    assert watched.answering
    assert watched.vital(probe).failed is not None


async def test_an_idle_model_is_asked_under_a_new_number_each_time() -> None:
    model, clock = Model(), Clock()
    probe = model.probe()
    watched = canary(probe, clock=clock)
    clock.now += 31
    running = asyncio.create_task(watched.run())
    await model.arrived.wait()
    await watched.ask(probe)
    assert model.asked == [1, 2]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_an_interval_of_nothing_never_asks() -> None:
    model = Model()
    await Canary([model.probe()], interval=0, timeout=1).run()
    assert model.asked == []
