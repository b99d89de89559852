from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable
from dataclasses import dataclass

import pytest
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

from inference.batching import PATIENCE, BatchQueue, Ticket
from streaming.errors import Overloaded
from streaming.types import Priority

FINAL, PARTIAL, OFFLINE = Priority.FINAL, Priority.PARTIAL, Priority.OFFLINE


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    session: str = "s"
    segment: int = 0
    revision: int = 0
    priority: Priority = FINAL
    tenant: str = "t"
    bucket: int = 0
    weight: float = 1.0


def by_bucket(job: Job) -> Hashable:
    return job.bucket


def queue(
    *,
    capacity: int = 64,
    reserved: int = 8,
    ageing: float = 10.0,
    per_session: int | None = None,
    patience: float = PATIENCE,
) -> BatchQueue[Job]:
    return BatchQueue(
        patience=patience,
        group=by_bucket,
        capacity=capacity,
        reserved=reserved,
        ageing=ageing,
        per_session=per_session,
    )


def jobs(tickets: list[Ticket[Job]]) -> list[Job]:
    return [ticket.job for ticket in tickets]


def test_classes_are_served_in_order() -> None:
    waiting = queue()
    offline, partial, final = (
        Job(priority=priority, session=priority.name) for priority in (OFFLINE, PARTIAL, FINAL)
    )
    for job in (offline, partial, final):
        waiting.put(job, 0.0)
    assert jobs(waiting.take(0.0, 8)) == [final, partial, offline]


def test_a_batch_holds_one_group_and_the_most_urgent_decides_which() -> None:
    waiting = queue()
    long = [Job(session=f"l{n}", bucket=3000, priority=PARTIAL) for n in range(3)]
    short = [Job(session=f"s{n}", bucket=800) for n in range(2)]
    for job in (*long, *short):
        waiting.put(job, 0.0)
    assert jobs(waiting.take(0.0, 8)) == short
    assert jobs(waiting.take(0.0, 2)) == long[:2]
    assert jobs(waiting.take(0.0, 2)) == long[2:]
    assert waiting.take(0.0, 2) == []


def test_a_newer_partial_takes_the_place_and_age_of_the_older() -> None:
    waiting = queue(ageing=10.0)
    first = waiting.put(Job(session="a", revision=1, priority=PARTIAL), 0.0).ticket
    waiting.put(Job(session="b", revision=1, priority=PARTIAL), 1.0)
    newer = waiting.put(Job(session="a", revision=2, priority=PARTIAL), 9.0)
    assert newer.displaced == (first,)
    assert len(waiting) == 2
    assert newer.ticket.queued_at == 9.0
    # 10.5 s after the first came it counts as a final, though 1.5 s old itself.
    waiting.put(Job(session="c"), 10.0)
    assert [job.session for job in jobs(waiting.take(10.5, 3))] == ["a", "c", "b"]


def test_an_older_partial_that_comes_late_never_runs() -> None:
    waiting = queue()
    newer = waiting.put(Job(revision=2, priority=PARTIAL), 0.0).ticket
    late = waiting.put(Job(revision=1, priority=PARTIAL), 1.0)
    assert late.displaced == (late.ticket,)
    assert waiting.take(2.0, 8) == [newer]


def test_a_job_is_replaced_only_once_it_has_waited() -> None:
    waiting = queue(patience=0.25)
    old = waiting.put(Job(revision=1, priority=PARTIAL), 0.0).ticket
    young = waiting.put(Job(revision=2, priority=PARTIAL), 0.1)
    assert young.displaced == ()
    final = waiting.put(Job(revision=3), 0.3)
    assert final.displaced == (old,)
    assert waiting.put(Job(revision=4), 1.0).displaced == (young.ticket, final.ticket)
    assert len(waiting) == 1


def test_a_job_in_its_turn_is_not_replaced() -> None:
    """It waits for its own session's partial, not for a worker: the server keeps up."""
    waiting = queue()
    first = waiting.put(Job(revision=1, priority=PARTIAL), 0.0).ticket
    waiting.take(0.0, 1)
    second = waiting.put(Job(revision=2, priority=PARTIAL), 0.1).ticket
    final = waiting.put(Job(revision=3), 5.0)
    assert final.displaced == ()
    waiting.done(first, 6.0)
    assert waiting.overtaken(6.1) == []
    assert waiting.overtaken(6.3) == [second]
    assert waiting.overtaken(9.0) == [], "the newest stays"
    assert jobs(waiting.take(9.0, 8)) == [final.ticket.job]


def test_offline_work_never_replaces_or_is_replaced() -> None:
    waiting = queue()
    waiting.put(Job(revision=1, priority=OFFLINE), 0.0)
    assert waiting.put(Job(revision=2, priority=OFFLINE), 9.0).displaced == ()
    assert waiting.put(Job(revision=3), 9.0).displaced == ()
    assert len(waiting) == 3


def test_one_partial_of_a_session_runs_at_a_time() -> None:
    waiting = queue()
    waiting.put(Job(segment=1, priority=PARTIAL), 0.0)
    waiting.put(Job(segment=2, priority=PARTIAL), 0.0)
    waiting.put(Job(session="other", priority=PARTIAL), 0.0)
    running = waiting.take(0.0, 8)
    assert [(job.session, job.segment) for job in jobs(running)] == [("s", 1), ("other", 0)]
    final = waiting.put(Job(segment=1), 0.0).ticket
    assert waiting.take(0.0, 8) == [final], "a final does not wait for a partial"
    assert waiting.take(0.0, 8) == []
    waiting.done(running[0], 0.0)
    assert [job.segment for job in jobs(waiting.take(0.0, 8))] == [2]


def test_a_cancelled_job_never_runs() -> None:
    waiting = queue()
    cancelled = waiting.put(Job(), 0.0).ticket
    kept = waiting.put(Job(), 0.0).ticket
    assert waiting.cancel(cancelled)
    assert not waiting.cancel(cancelled)
    assert waiting.take(0.0, 8) == [kept]
    assert not waiting.cancel(kept), "it runs"


def test_a_cancelled_place_is_not_confused_with_its_successor() -> None:
    waiting = queue()
    old = waiting.put(Job(revision=1, priority=PARTIAL), 0.0).ticket
    new = waiting.put(Job(revision=2, priority=PARTIAL), 1.0).ticket
    assert not waiting.cancel(old)
    assert waiting.take(0.0, 8) == [new]


def test_partials_and_offline_work_leave_room_for_finals() -> None:
    waiting = queue(capacity=4, reserved=1)
    for number in range(3):
        waiting.put(Job(session=str(number), priority=OFFLINE), 0.0)
    for priority in (PARTIAL, OFFLINE):
        with pytest.raises(Overloaded):
            waiting.put(Job(session="late", priority=priority), 0.0)
    waiting.put(Job(session="final"), 0.0)
    with pytest.raises(Overloaded):
        waiting.put(Job(session="final"), 0.0)
    assert len(waiting) == 4


def test_superseding_needs_no_room() -> None:
    waiting = queue(capacity=2, reserved=1)
    waiting.put(Job(revision=1, priority=PARTIAL), 0.0)
    assert waiting.put(Job(revision=2, priority=PARTIAL), 1.0).displaced


def test_a_session_may_be_bounded_by_itself() -> None:
    waiting = queue(per_session=2)
    for _ in range(2):
        waiting.put(Job(priority=OFFLINE), 0.0)
    with pytest.raises(Overloaded):
        waiting.put(Job(priority=OFFLINE), 0.0)
    waiting.put(Job(session="other", priority=OFFLINE), 0.0)
    waiting.put(Job(), 0.0)


def test_what_is_kept_for_finals_takes_aged_work_too_and_nothing_else() -> None:
    waiting = queue(ageing=1.0)
    waiting.put(Job(session="partial", priority=PARTIAL), 0.0)
    waiting.put(Job(session="file", priority=OFFLINE), 0.0)
    assert waiting.take(0.9, 8, urgent_only=True) == []
    final = Job(session="final")
    waiting.put(final, 0.9)
    assert jobs(waiting.take(0.9, 8, urgent_only=True)) == [final]
    (aged,) = waiting.take(1.0, 8, urgent_only=True)
    assert aged.job.session == "partial"
    (file,) = waiting.take(2.0, 8, urgent_only=True)
    assert file.job.session == "file"


def test_nothing_starves_behind_finals() -> None:
    waiting = queue(ageing=1.0)
    old = waiting.put(Job(session="file", tenant="file", priority=OFFLINE), 0.0).ticket
    served_at = None
    for tick in range(100):
        now = tick / 10
        for session in ("a", "b"):
            waiting.put(Job(session=session, tenant=session), now)
        (ticket,) = waiting.take(now, 1)
        waiting.done(ticket, 0.0)
        if ticket is old:
            served_at = now
            break
    # Two classes up after 2 s, then one round of three tenants.
    assert served_at is not None
    assert 2.0 <= served_at <= 2.3


def named(unit: str, name: str) -> Job:
    return Job(session=name) if unit == "session" else Job(session=name, tenant=name)


@pytest.mark.parametrize("unit", ["session", "tenant"])
def test_a_flood_delays_a_quiet_one_by_one_turn(unit: str) -> None:
    waiting = queue()
    for _ in range(20):
        waiting.put(named(unit, "flood"), 0.0)
    waiting.take(0.0, 1)
    waiting.put(named(unit, "quiet"), 1.0)
    order = [getattr(waiting.take(1.0, 1)[0].job, unit) for _ in range(2)]
    assert "quiet" in order


def test_newcomers_do_not_starve_those_who_wait() -> None:
    waiting = queue()
    for number in range(3):
        waiting.put(Job(session="patient", tenant="patient", segment=number), 0.0)
    served: Counter[str] = Counter()
    for number in range(9):
        waiting.put(Job(session=f"new{number}", tenant=f"new{number}"), float(number))
        served[waiting.take(float(number), 1)[0].job.tenant] += 1
    assert served["patient"] == 3


def test_a_session_in_many_sessions_gains_its_tenant_nothing() -> None:
    waiting = queue()
    for number in range(10):
        waiting.put(Job(tenant="many", session=f"many{number}"), 0.0)
    for number in range(10):
        waiting.put(Job(tenant="one", session="one", segment=number), 0.0)
    first = Counter(job.tenant for job in jobs(waiting.take(0.0, 10)))
    assert first == {"many": 5, "one": 5}


def test_tenants_share_by_weight() -> None:
    waiting = queue()
    for number in range(20):
        waiting.put(Job(tenant="small", segment=number), 0.0)
        waiting.put(Job(tenant="large", segment=number, weight=3.0), 0.0)
    first = Counter(job.tenant for job in jobs(waiting.take(0.0, 16)))
    assert first == {"large": 12, "small": 4}


def test_what_costs_more_counts_for_more() -> None:
    waiting: BatchQueue[Job] = BatchQueue(group=lambda _: 0, cost=lambda job: job.bucket)
    for number in range(20):
        waiting.put(Job(tenant="long", segment=number, bucket=3000), 0.0)
        waiting.put(Job(tenant="short", segment=number, bucket=1000), 0.0)
    first = Counter(job.tenant for job in jobs(waiting.take(0.0, 16)))
    assert first == {"short": 12, "long": 4}


def test_waiting_for_the_lane_is_not_waiting_for_a_worker() -> None:
    waiting = queue()
    first = waiting.put(Job(revision=1, priority=PARTIAL), 0.0).ticket
    waiting.take(0.0, 1)
    second = waiting.put(Job(revision=2, priority=PARTIAL), 0.1).ticket
    assert waiting.take(0.2, 1) == []
    waiting.done(first, 0.3)
    assert (second.queued_at, second.ready_at) == (0.1, 0.3)


def test_drain_empties_the_queue_in_order() -> None:
    waiting = queue()
    tickets = [waiting.put(Job(session=str(n), priority=PARTIAL), 0.0).ticket for n in range(5)]
    assert waiting.drain() == tickets
    assert len(waiting) == 0
    assert waiting.take(0.0, 8) == []


def test_nonsense_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="reserved"):
        queue(capacity=4, reserved=4)
    with pytest.raises(ValueError, match="ageing"):
        queue(ageing=0)


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
