"""Which jobs run next, and which share a batch. Pure policy: time is an argument.

Order of service:

1. Class: finals, then partials, then offline work. A job that has waited ``ageing`` seconds counts
   as one class better, after twice that as two: nothing starves.
2. Inside a class, tenants share what is done by their weights, and sessions of one tenant equally:
   a flood from one of them delays nobody else by more than a round.
3. Inside a session, first come, first served.

A newer job takes the place of queued older ones with the same key, if these have waited for longer
than ``patience``: a machine that keeps up answers every question, so that what comes of a stream
does not depend on timing, and one that does not decodes the newest audio rather than the oldest. A
session has at most one partial running; its next one waits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from streaming.errors import Overloaded
from streaming.types import Priority


class Schedulable(Protocol):
    """What the queue needs to know of a job."""

    @property
    def session(self) -> str: ...
    @property
    def segment(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def priority(self) -> Priority: ...
    @property
    def tenant(self) -> str: ...
    @property
    def weight(self) -> float: ...


J = TypeVar("J", bound=Schedulable)

PATIENCE: Final = 0.25
"""Seconds a job may wait before a newer one of its segment takes its place."""


@dataclass(eq=False, slots=True)
class Ticket(Generic[J]):
    """A job's place in the queue. Compared by identity; made by :meth:`BatchQueue.put` only."""

    job: J
    queued_at: float
    """When this job came."""
    waiting_since: float
    """When its place was taken: earlier than ``queued_at`` if the job superseded another."""
    place: int
    group: Hashable
    key: Hashable | None = None
    """Jobs with equal keys replace each other; None: never replaced."""
    lane: Hashable | None = None
    """Partials of one lane run one at a time; None for other jobs."""
    ready_at: float = 0.0
    """Since when it waited for a worker, and not for the one before it in its lane."""

    def level(self, now: float, ageing: float) -> int:
        """The class the job counts as now: its priority, bettered by its age."""
        risen = int((now - self.waiting_since) / ageing) if now > self.waiting_since else 0
        return max(Priority.FINAL, self.job.priority - risen)


class Placed(NamedTuple, Generic[J]):
    """What :meth:`BatchQueue.put` did."""

    ticket: Ticket[J]
    displaced: tuple[Ticket[J], ...]
    """Tickets that will never run now, oldest first. It is ``ticket`` itself when the job put is
    an older revision than one that waits."""


def one_per_segment(job: Schedulable) -> Hashable | None:
    """The usual supersede key: whatever is newer of a segment replaces what is older."""
    return None if job.priority is Priority.OFFLINE else (job.session, job.segment)


def one_each(_job: Schedulable) -> float:
    """The usual cost: every job counts the same."""
    return 1.0


def one_per_session(job: Schedulable) -> Hashable:
    """The lane of recognition: one partial of a session runs at a time."""
    return job.session


@dataclass(slots=True)
class _Shares:
    """Weighted fair queueing by virtual finish times (Demers, Keshav, Shenker 1989).

    Whoever's next job would end first, if all were served side by side by their weights, is next.
    Names are forgotten when nothing of theirs waits.
    """

    clock: float = 0.0
    """Virtual time: the finish time of the job served last."""
    waiting: dict[Hashable, int] = field(default_factory=dict)
    finish: dict[Hashable, float] = field(default_factory=dict)
    """When the next job of each name would end."""

    def joined(self, name: Hashable, cost: float) -> None:
        self.waiting[name] = self.waiting.get(name, 0) + 1
        if name not in self.finish:
            self.finish[name] = self.clock + cost

    def left(self, name: Hashable) -> None:
        self.waiting[name] -= 1
        if not self.waiting[name]:
            del self.waiting[name], self.finish[name]

    def served(self, name: Hashable, cost: float) -> None:
        self.clock = max(self.clock, self.finish[name])
        self.finish[name] += cost
        self.left(name)


class BatchQueue(Generic[J]):
    """A bounded queue of jobs, handed out as batches. Not thread-safe: the dispatcher locks.

    ``group`` tells which jobs may share a batch (equal values do). ``supersede_key`` tells which
    jobs replace each other (None: never), once the older has waited ``patience`` seconds. ``lane``
    tells which partials run one at a time (by default those of one session).

    ``capacity`` bounds what waits; ``reserved`` of it only finals may use; ``per_session`` bounds
    what one session may have waiting. ``ageing`` is in seconds. ``cost`` tells how much of a
    tenant's share a job takes, in any unit.
    """

    def __init__(
        self,
        *,
        group: Callable[[J], Hashable],
        supersede_key: Callable[[J], Hashable | None] = one_per_segment,
        lane: Callable[[J], Hashable] = one_per_session,
        capacity: int = 256,
        reserved: int | None = None,
        per_session: int | None = None,
        ageing: float = 2.0,
        patience: float = PATIENCE,
        cost: Callable[[J], float] = one_each,
    ) -> None:
        reserved = capacity // 4 if reserved is None else reserved
        if not 0 <= reserved < capacity:
            raise ValueError("reserved must be at least 0 and less than capacity")
        if ageing <= 0:
            raise ValueError("ageing must be greater than 0")
        self.capacity = capacity
        self.reserved = reserved
        self.per_session = per_session
        self.ageing = ageing
        self.patience = patience
        self._group = group
        self._supersede_key = supersede_key
        self._lane = lane
        self._cost = cost
        self._queued: dict[int, Ticket[J]] = {}  # by place, hence in order of arrival
        self._by_key: dict[Hashable, list[Ticket[J]]] = {}
        self._running: set[Ticket[J]] = set()
        self._busy_lanes: set[Hashable] = set()
        self._tenants = _Shares()
        self._sessions = _Shares()
        self._counts = dict.fromkeys(Priority, 0)
        self._places = 0

    def __len__(self) -> int:
        """How many jobs wait."""
        return len(self._queued)

    @property
    def running(self) -> int:
        """How many jobs were taken and are not done."""
        return len(self._running)

    @property
    def queued(self) -> Mapping[Priority, int]:
        """How many jobs of each priority wait."""
        return dict(self._counts)

    def put(self, job: J, now: float) -> Placed[J]:
        """Queue a job. Raises ``Overloaded`` when there is no room for one of its priority.

        One that replaces another needs no room: it takes its place and its age.
        """
        key = self._supersede_key(job)
        rivals = self._by_key.get(key, []) if key is not None else []
        late = any(job.revision < rival.job.revision for rival in rivals)
        stale = [] if late else [one for one in rivals if self._may_displace(one, now)]
        old = stale[0] if stale else None
        if old is None:
            if not late:
                self._check_room(job)
            self._places += 1
        ticket = Ticket(
            job=job,
            queued_at=now,
            waiting_since=now if old is None else old.waiting_since,
            place=self._places if old is None else old.place,
            group=self._group(job),
            key=key,
            lane=self._lane(job) if job.priority is Priority.PARTIAL else None,
            ready_at=now,
        )
        if late:
            return Placed(ticket, displaced=(ticket,))
        # Joined before the old ones leave: a session that replaces its only job keeps its turn.
        cost = self._cost(job)
        self._tenants.joined(job.tenant, cost / job.weight)
        self._sessions.joined((job.tenant, job.session), cost)
        for one in stale:
            self._forget(one)
        self._queued[ticket.place] = ticket
        if key is not None:
            self._by_key.setdefault(key, []).append(ticket)
        self._counts[job.priority] += 1
        return Placed(ticket, displaced=tuple(stale))

    def take(self, now: float, limit: int, *, urgent_only: bool = False) -> list[Ticket[J]]:
        """Take up to ``limit`` jobs that may share a batch, the most urgent first.

        The most urgent job decides the group. Every ticket taken must be given to :meth:`done`.
        ``urgent_only`` leaves what does not count as a final, by its priority or its age.
        """
        waiting = [
            (level, ticket)
            for ticket in self._queued.values()
            if (ticket.lane is None or ticket.lane not in self._busy_lanes)
            and ((level := ticket.level(now, self.ageing)) is Priority.FINAL or not urgent_only)
        ]
        batch: list[Ticket[J]] = []
        while waiting and len(batch) < limit:
            _, first = min(waiting, key=self._order)
            if not batch:
                waiting = [entry for entry in waiting if entry[1].group == first.group]
            self._start(first)
            batch.append(first)
            waiting = [
                entry
                for entry in waiting
                if entry[1] is not first
                and (entry[1].lane is None or entry[1].lane not in self._busy_lanes)
            ]
        return batch

    def overtaken(self, now: float) -> list[Ticket[J]]:
        """Remove and return jobs that have waited and that newer ones of their key make useless."""
        stale = [
            ticket
            for rivals in self._by_key.values()
            for ticket in rivals[:-1]
            if self._may_displace(ticket, now)
        ]
        for ticket in stale:
            self._forget(ticket)
        return stale

    def done(self, ticket: Ticket[J], now: float) -> None:
        """A taken job has ended, well or not. Idempotent."""
        if ticket not in self._running:
            return
        self._running.remove(ticket)
        if ticket.lane is not None:
            self._busy_lanes.discard(ticket.lane)
            for other in self._queued.values():
                if other.lane == ticket.lane:
                    other.ready_at = now

    def cancel(self, ticket: Ticket[J]) -> bool:
        """Remove a job that waits. False if it does not wait (it runs, or is gone)."""
        if self._queued.get(ticket.place) is not ticket:
            return False
        self._forget(ticket)
        return True

    def drain(self) -> list[Ticket[J]]:
        """Remove and return all that waits, in order of arrival."""
        tickets = sorted(self._queued.values(), key=lambda ticket: ticket.place)
        for ticket in tickets:
            self._forget(ticket)
        return tickets

    def _may_displace(self, ticket: Ticket[J], now: float) -> bool:
        """Whether a job has waited long enough for a worker, and not for the one before it."""
        in_turn = ticket.lane is not None and ticket.lane in self._busy_lanes
        return not in_turn and now - ticket.ready_at >= self.patience

    def _check_room(self, job: J) -> None:
        final = job.priority is Priority.FINAL
        room = self.capacity if final else self.capacity - self.reserved
        if len(self._queued) >= room:
            raise Overloaded("Too much work is waiting; try again in a moment.", retry_after=1.0)
        if self.per_session is not None and not final:
            waiting = self._sessions.waiting.get((job.tenant, job.session), 0)
            if waiting >= self.per_session:
                raise Overloaded("This session has too much work waiting.", retry_after=1.0)

    def _order(self, entry: tuple[int, Ticket[J]]) -> tuple[int, float, float, int]:
        level, ticket = entry
        job = ticket.job
        return (
            level,
            self._tenants.finish.get(job.tenant, 0.0),
            self._sessions.finish.get((job.tenant, job.session), 0.0),
            ticket.place,
        )

    def _start(self, ticket: Ticket[J]) -> None:
        self._remove(ticket)
        cost = self._cost(ticket.job)
        self._tenants.served(ticket.job.tenant, cost / ticket.job.weight)
        self._sessions.served((ticket.job.tenant, ticket.job.session), cost)
        self._running.add(ticket)
        if ticket.lane is not None:
            self._busy_lanes.add(ticket.lane)

    def _forget(self, ticket: Ticket[J]) -> None:
        self._remove(ticket)
        self._tenants.left(ticket.job.tenant)
        self._sessions.left((ticket.job.tenant, ticket.job.session))

    def _remove(self, ticket: Ticket[J]) -> None:
        del self._queued[ticket.place]
        self._counts[ticket.job.priority] -= 1
        if ticket.key is not None:
            rivals = self._by_key[ticket.key]
            rivals.remove(ticket)
            if not rivals:
                del self._by_key[ticket.key]
