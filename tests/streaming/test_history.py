"""Events are kept without a gap, until they need not be sent again."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streaming.history import MAX_AGE, MAX_KEPT, History


class Kept(RuleBasedStateMachine):
    """Against a plain list of everything there ever was."""

    @initialize(last=st.integers(0, 50), kept=st.integers(0, 5))
    def begin(self, last: int, kept: int) -> None:
        kept = min(kept, last)
        self.every: dict[int, bytes] = {
            number: b"%d" % number for number in range(last - kept + 1, last + 1)
        }
        self.history = History(last=last, kept=sorted(self.every.items()))
        self.last = last
        self.now = 0.0
        self.acknowledged = last - kept

    @rule(wait=st.floats(0, 30))
    def add(self, wait: float) -> None:
        self.now += wait
        self.last += 1
        self.every[self.last] = b"%d" % self.last
        assert self.history.add(self.every[self.last], self.now) == (
            self.last,
            self.every[self.last],
        )

    @rule(data=st.data())
    def acknowledge(self, data: Any) -> None:
        seq = data.draw(st.integers(0, self.last + 5))
        self.history.acknowledge(seq)
        self.acknowledged = max(self.acknowledged, min(seq, self.last))

    @rule(data=st.data())
    def come_back(self, data: Any) -> None:
        seq = data.draw(st.integers(0, self.last + 5))
        if not self.history.follows(seq):
            assert seq < self.history.first - 1 or seq > self.last
            return
        wanted = [(number, self.every[number]) for number in range(seq + 1, self.last + 1)]
        assert self.history.after(seq) == wanted

    @invariant()
    def nothing_new_is_forgotten(self) -> None:
        if hasattr(self, "history"):
            assert self.history.last == self.last
            assert self.history.first > self.acknowledged


TestKept = Kept.TestCase


@given(st.integers(1, 10))
def test_what_nobody_asks_for_is_forgotten_in_time(more: int) -> None:
    history = History()
    history.add(b"old", 0.0)
    history.add(b"newer", MAX_AGE / 2)
    for _ in range(more):
        history.add(b"new", MAX_AGE + 1)
    assert history.first == 2
    assert [data for _, data in history.after(1)] == [b"newer"] + [b"new"] * more


def test_of_too_many_the_oldest_go() -> None:
    history = History()
    for number in range(1, MAX_KEPT + 2):
        history.add(b"%d" % number, 0.0)
    assert history.last == MAX_KEPT + 1
    assert history.last - history.first + 1 == MAX_KEPT * 3 // 4
    assert history.after(history.last - 1) == [(history.last, b"%d" % history.last)]
    assert not history.follows(1)
