"""What holds of a queue whatever is done in whatever order."""

from __future__ import annotations

from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from inference.batching import PATIENCE, Ticket
from streaming.errors import Overloaded
from streaming.types import Priority
from tests.inference.queues import FINAL, PARTIAL, Job, queue

job_strategy = st.builds(
    Job,
    session=st.sampled_from(["a", "b", "c"]),
    segment=st.integers(0, 2),
    revision=st.integers(0, 5),
    priority=st.sampled_from(Priority),
    tenant=st.sampled_from(["x", "y"]),
    bucket=st.integers(0, 1),
)


class AnyOrder(RuleBasedStateMachine):
    """Whatever is done in whatever order, every job has exactly one fate."""

    tickets: Bundle[Ticket[Job]] = Bundle("tickets")
    taken: Bundle[list[Ticket[Job]]] = Bundle("taken")

    @initialize()
    def begin(self) -> None:
        self.now = 0.0
        self.waiting = queue(capacity=12, reserved=4, ageing=5.0)
        self.fates: dict[Ticket[Job], str] = {}

    def _fate(self, ticket: Ticket[Job], fate: str) -> None:
        assert self.fates[ticket] == "waits", f"{self.fates[ticket]} and then {fate}"
        self.fates[ticket] = fate

    @rule(target=tickets, job=job_strategy)
    def put(self, job: Job) -> Ticket[Job] | MultipleResults[Ticket[Job]]:
        before = len(self.waiting)
        try:
            ticket, displaced = self.waiting.put(job, self.now)
        except Overloaded:
            assert before >= (12 if job.priority is FINAL else 8)
            return multiple()
        self.fates[ticket] = "waits"
        for one in displaced:
            assert one.job.priority is not Priority.OFFLINE
            assert (one.job.session, one.job.segment) == (job.session, job.segment)
            assert one is ticket or self.now - one.ready_at >= PATIENCE
            self._fate(one, "superseded")
        return ticket

    @rule(ticket=tickets)
    def cancel(self, ticket: Ticket[Job]) -> None:
        if self.waiting.cancel(ticket):
            self._fate(ticket, "cancelled")
        else:
            assert self.fates[ticket] != "waits"

    @rule(target=taken, limit=st.integers(1, 4))
    def take(self, limit: int) -> list[Ticket[Job]]:
        a_final_waits = any(
            fate == "waits" and ticket.job.priority is FINAL for ticket, fate in self.fates.items()
        )
        batch = self.waiting.take(self.now, limit)
        assert len(batch) <= limit
        assert len({ticket.group for ticket in batch}) <= 1
        for ticket in batch:
            self._fate(ticket, "runs")
        if a_final_waits:
            assert batch[0].level(self.now, 5.0) == FINAL, "only the aged may go before a final"
        levels = [ticket.level(self.now, 5.0) for ticket in batch]
        assert levels == sorted(levels)
        return batch

    @rule()
    def overtaken(self) -> None:
        for ticket in self.waiting.overtaken(self.now):
            assert self.now - ticket.ready_at >= PATIENCE
            self._fate(ticket, "superseded")

    @rule(batch=consumes(taken))
    def done(self, batch: list[Ticket[Job]]) -> None:
        for ticket in batch:
            self.waiting.done(ticket, self.now)
            self.waiting.done(ticket, self.now)
            self.fates[ticket] = "ran"

    @rule(step=st.floats(0.0, 4.0))
    def pass_time(self, step: float) -> None:
        self.now += step

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "waiting"):
            return
        waiting = [ticket for ticket, fate in self.fates.items() if fate == "waits"]
        assert len(self.waiting) == len(waiting) <= 12
        assert self.waiting.queued == {
            priority: sum(ticket.job.priority is priority for ticket in waiting)
            for priority in Priority
        }
        assert self.waiting.running == sum(fate == "runs" for fate in self.fates.values())
        lanes = Counter(
            ticket.job.session
            for ticket, fate in self.fates.items()
            if fate == "runs" and ticket.job.priority is PARTIAL
        )
        assert all(count == 1 for count in lanes.values())

    def teardown(self) -> None:
        """Nothing is lost: what still waits can all be taken."""
        for ticket, fate in self.fates.items():
            if fate == "runs":
                self.waiting.done(ticket, self.now)
        left = {ticket for ticket, fate in self.fates.items() if fate == "waits"}
        for _ in range(len(left)):
            for ticket in self.waiting.take(self.now, 1):
                left.remove(ticket)
                self.waiting.done(ticket, self.now)
        assert not left
        assert len(self.waiting) == self.waiting.running == 0
        assert not self.waiting._sessions.finish
        assert not self.waiting._tenants.finish


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(
    waiting=st.lists(job_strategy, max_size=40),
    limit=st.integers(1, 8),
)
def test_inside_a_class_turns_are_even(waiting: list[Job], limit: int) -> None:
    """Among sessions of a tenant that have finals left, the least served is always next."""
    pending = queue(capacity=64, reserved=0)
    left: defaultdict[str, int] = defaultdict(int)
    for job in waiting:
        pending.put(Job(session=job.session, segment=job.segment), 0.0)
        left[job.session] += 1
    served: Counter[str] = Counter()
    while batch := pending.take(0.0, limit):
        for ticket in batch:
            session = ticket.job.session
            assert all(served[session] <= served[other] for other in left if left[other] > 0), (
                "someone else's turn came first"
            )
            served[session] += 1
            left[session] -= 1
            pending.done(ticket, 0.0)
