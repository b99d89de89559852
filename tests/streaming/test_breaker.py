from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from streaming.breaker import BreakerOpen, BreakerPolicy, BreakerState, CircuitBreaker
from tests.clock import Clock

POLICY = BreakerPolicy(failures=3, recovery=10.0)


class Down(Exception):
    """The service does not answer."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> CircuitBreaker:
    return CircuitBreaker("service", POLICY, clock=clock)


def state(breaker: CircuitBreaker) -> BreakerState:
    return breaker.state


def fail(breaker: CircuitBreaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(Down), breaker.attempt():
            raise Down


def test_failures_in_a_row_open_it_and_an_answer_between_them_starts_over(
    breaker: CircuitBreaker,
) -> None:
    fail(breaker, 2)
    with breaker.attempt():
        pass
    fail(breaker, 2)
    assert breaker.status.failures == 2
    assert breaker.available
    fail(breaker)
    assert state(breaker) is BreakerState.OPEN
    assert not breaker.available


def test_open_it_refuses_at_once_and_says_for_how_long(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker, 3)
    clock.now += 4
    with pytest.raises(BreakerOpen) as refused, breaker.attempt():
        pytest.fail("the call was made")
    assert refused.value.retry_after == 6.0
    status = breaker.status
    assert (status.age, status.retry_after) == (4.0, 6.0)
    assert (status.opened, status.refused, status.failures) == (1, 1, 3)


def test_a_trial_that_works_closes_it(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    clock.now += 10
    with breaker.attempt():
        assert state(breaker) is BreakerState.HALF_OPEN
        assert breaker.status.retry_after is None
        with pytest.raises(BreakerOpen), breaker.attempt():  # one trial at a time
            pytest.fail("the call was made")
    assert state(breaker) is BreakerState.CLOSED
    assert breaker.status.failures == 0


def test_a_trial_that_fails_opens_it_for_as_long_again(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    fail(breaker, 3)
    clock.now += 10
    fail(breaker)
    assert state(breaker) is BreakerState.OPEN
    assert breaker.status.retry_after == 10.0
    assert breaker.status.opened == 1  # it is the same outage


@pytest.mark.parametrize("end", [asyncio.CancelledError, KeyboardInterrupt, TimeoutError])
def test_a_trial_nobody_waited_for_is_another_ones(
    breaker: CircuitBreaker, clock: Clock, end: type[BaseException]
) -> None:
    fail(breaker, 3)
    clock.now += 10
    with pytest.raises(end), breaker.attempt(neither=(TimeoutError,)):
        raise end
    assert state(breaker) is BreakerState.OPEN
    assert breaker.available


def test_only_what_is_named_a_failure_is_one(breaker: CircuitBreaker) -> None:
    for _ in range(9):
        with pytest.raises(ValueError, match="no"), breaker.attempt(failures=(Down,)):
            raise ValueError("no")
    assert state(breaker) is BreakerState.CLOSED


def test_an_answer_that_is_late_proves_nothing(breaker: CircuitBreaker, clock: Clock) -> None:
    slow_good, slow_bad = breaker.attempt(), breaker.attempt()
    slow_good.__enter__()
    slow_bad.__enter__()
    fail(breaker, 3)
    slow_good.__exit__(None, None, None)
    assert state(breaker) is BreakerState.OPEN
    clock.now += 10
    with breaker.attempt():
        slow_bad.__exit__(Down, Down(), None)
        assert state(breaker) is BreakerState.HALF_OPEN
    assert state(breaker) is BreakerState.CLOSED


def test_it_is_reset_in_any_state(breaker: CircuitBreaker, clock: Clock) -> None:
    fail(breaker, 3)
    breaker.reset()
    assert state(breaker) is BreakerState.CLOSED
    assert breaker.status.failures == 0
    fail(breaker, 3)
    clock.now += 10
    with breaker.attempt():
        breaker.reset()
    assert state(breaker) is BreakerState.CLOSED


def test_changes_are_told(clock: Clock) -> None:
    seen: list[BreakerState] = []
    breaker = CircuitBreaker(
        "service", POLICY, clock=clock, changed=lambda one: seen.append(one.state)
    )
    fail(breaker, 3)
    clock.now += 10
    with breaker.attempt():
        pass
    assert seen == [BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED]


class Calls(RuleBasedStateMachine):
    """Calls that overlap and end in any order and way, with a clock that goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = CircuitBreaker("service", POLICY, clock=self.clock)
        self.running: list[AbstractContextManager[None]] = []

    @rule()
    def call(self) -> None:
        could = self.breaker.available
        attempt = self.breaker.attempt()
        if could:
            attempt.__enter__()
            self.running.append(attempt)
            return
        with pytest.raises(BreakerOpen) as refused:
            attempt.__enter__()
        assert 0 <= refused.value.retry_after <= POLICY.recovery

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 99), error=st.sampled_from([None, Down, asyncio.CancelledError]))
    def end(self, which: int, error: type[BaseException] | None) -> None:
        attempt = self.running.pop(which % len(self.running))
        attempt.__exit__(error, error() if error else None, None)

    @rule(seconds=st.floats(0, 15))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        assert self.breaker.available

    @invariant()
    def it_is_consistent(self) -> None:
        status = self.breaker.status
        if status.state is BreakerState.CLOSED:
            assert status.failures < POLICY.failures
            assert self.breaker.available
        else:
            assert status.failures >= POLICY.failures
        assert (status.retry_after is not None) == (status.state is BreakerState.OPEN)
        if status.state is BreakerState.HALF_OPEN:
            assert self.running  # somebody's trial: it ends by itself
            assert not self.breaker.available

    @invariant()
    def it_never_stays_open_for_longer_than_recovery(self) -> None:
        status = self.breaker.status
        if status.retry_after == 0:
            assert self.breaker.available
        assert (status.retry_after or 0) <= POLICY.recovery


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
