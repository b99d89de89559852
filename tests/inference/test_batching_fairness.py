"""Whose turn it is: shares of tenants and sessions, and old work that rises."""

from __future__ import annotations

from collections import Counter

import pytest

from inference.batching import BatchQueue
from tests.inference.queues import OFFLINE, Job, jobs, queue


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
