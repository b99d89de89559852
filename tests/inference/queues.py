"""Jobs without work, and queues of them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from inference.batching import PATIENCE, BatchQueue, Ticket
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
