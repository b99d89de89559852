"""What runs next, what is refused and what is replaced."""

from __future__ import annotations

import pytest

from streaming.errors import Overloaded
from tests.inference.queues import FINAL, OFFLINE, PARTIAL, Job, jobs, queue


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
