"""Carries jobs from the event loop to worker threads and results back.

The policy is :mod:`inference.batching`; this is its clock and its lock. The threads are those of a
:class:`~inference.crew.Crew`, which replaces the ones that hang or die. Nothing here blocks the
loop: the lock is held for the length of a queue operation only, models run in the workers, and the
workers are joined off the loop.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from inference.batching import BatchQueue, Schedulable, Ticket
from inference.crew import Crew, Renew, Worker
from inference.delivery import deliver
from inference.load import DispatcherStats, LoadMeter
from inference.rows import Backend, Rows
from inference.supervision import BatchLimit, Fault, Staff, Supervision
from streaming.errors import ModelUnavailable, Overloaded, Superseded, SurtitleError
from streaming.types import Pressure, Priority

__all__ = ["Backend", "Dispatcher", "DispatcherStats"]

J = TypeVar("J", bound=Schedulable)
R = TypeVar("R")
_Batch = list[Ticket[J]]

_OVERTAKEN = "A newer request took its place."
_LAST_CALLS: Final = 5.0
"""Seconds that ``close`` waits for what runs."""
_SUSPECTS: Final = 64
_MOST_HUNG: Final = 2
"""Calls that one job may have hang: each holds a thread and a replica for good, perhaps."""
_MOST_LOST: Final = 3
"""Workers that one job may cost. One that dies is replaced at no cost."""
_AWAY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class _Again(Generic[J]):
    """A job that is done again."""

    ticket: Ticket[J]
    """Its newest."""
    cost: tuple[Fault, ...]
    """What became of the workers that had it."""


class Dispatcher(Generic[J, R]):
    """Awaitable, batched access to blocking backends, one worker thread each.

    ``failure`` makes the error of a job whose backend raised something else than a
    ``SurtitleError``. ``clock`` gives monotonic seconds. ``started`` is told of each job that a
    worker begins, and how many seconds it has waited for one; ``length`` gives a job's seconds of
    audio, where it has any. ``reserve`` is the strain from which
    one of several workers is kept for finals: for backends whose jobs take long. ``renew`` makes
    the replica of a worker that takes the place of one that hung or died; by default it is the
    same.

    A job whose worker is lost is done once more, alone in its batch. After two calls that hung, or
    three lost workers of any kind, it fails, and so does whatever is asked of its segment again: it
    is probably what is wrong.
    """

    def __init__(
        self,
        *,
        name: str,
        backends: Sequence[Backend[J, R]],
        queue: BatchQueue[J],
        max_batch: int,
        failure: Callable[[str], SurtitleError],
        clock: Callable[[], float] = time.monotonic,
        started: Callable[[J, float], None] = lambda _job, _waited: None,
        length: Callable[[J], float] = lambda _job: 0.0,
        reserve: float = math.inf,
        renew: Renew[Backend[J, R]] | None = None,
        supervision: Supervision | None = None,
    ) -> None:
        if not backends or max_batch < 1:
            raise ValueError("a dispatcher needs a backend and batches of at least one")
        self.name = name
        self._queue = queue
        self.max_batch = max_batch
        """Most jobs in a batch. May be changed while running."""
        self._failure = failure
        self._clock = clock
        self._started_job = started
        self._reserve = reserve
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._futures: dict[Ticket[J], asyncio.Future[R]] = {}
        self._again: dict[asyncio.Future[R], _Again[J]] = {}
        """Jobs whose worker was lost."""
        self._suspects: deque[tuple[str, int]] = deque(maxlen=_SUSPECTS)
        """Sessions and segments whose jobs cost too many workers."""
        self._closed = False
        self._started = False
        self._crew = Crew[Backend[J, R], _Batch[J]](
            name=name,
            backends=backends,
            lock=lock,
            serve=self._work,
            lost=self._worker_lost,
            renew=renew,
            policy=supervision,
            clock=clock,
        )
        self._limit = BatchLimit(self._crew.policy)
        self._batches = self._rows_taken = self._superseded = self._rejected = self._failed = 0
        self._retried = self._out_of_memory = 0
        self._answered_at: float | None = None
        self._load = LoadMeter(length)

    def start(self) -> None:
        """Start the workers. What was submitted before waits for this. Idempotent."""
        with self._changed:
            if self._started or self._closed:
                return
            self._started = True
        self._crew.start()

    async def submit(self, job: J) -> R:
        """Run one job and return its result.

        Raises the job's own error, ``Superseded`` when a newer one took its place, ``Overloaded``
        when there is no room, ``ModelUnavailable`` after ``close`` and when all workers hang.
        Cancelling removes the job from the queue; when it already runs, its result is discarded.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closed:
                raise ModelUnavailable(f"{self.name} has stopped.")
            if self._crew.hopeless:
                raise self._away()
            if (job.session, job.segment) in self._suspects:
                raise self._failure(f"{self.name} gave up on this.")
            now = self._clock()
            self._load.asked(job, now)
            try:
                ticket, displaced = self._queue.put(job, now)
            except Overloaded:
                self._rejected += 1
                raise
            self._futures[ticket] = future
            losers = [self._futures.pop(loser, None) for loser in displaced]
            self._superseded += len(displaced)
            self._changed.notify()
        deliver([(loser, Superseded(_OVERTAKEN)) for loser in losers if loser is not None])
        try:
            return await future
        except asyncio.CancelledError:
            with self._changed:
                if (again := self._again.get(future)) is not None:
                    ticket = again.ticket
                self._futures.pop(ticket, None)
                self._queue.cancel(ticket)
            raise
        finally:
            self._again.pop(future, None)

    async def close(self) -> None:
        """Stop: what runs is finished and delivered, what waits fails with ``ModelUnavailable``.

        Returns when all workers have ended but those that hang. Idempotent.
        """
        with self._changed:
            self._closed = True
            started = self._started
            stranded = [self._futures.pop(ticket, None) for ticket in self._queue.drain()]
            self._crew.close()
            self._changed.notify_all()
        stopped = ModelUnavailable(f"{self.name} has stopped.")
        deliver([(future, stopped) for future in stranded if future is not None])
        if started and not await asyncio.to_thread(self._crew.join, _LAST_CALLS):
            with self._changed:
                hanging = list(self._futures.values())
                self._futures.clear()
            deliver([(future, stopped) for future in hanging])

    @property
    def pressure(self) -> Pressure:
        """How much is asked of the workers, of late."""
        with self._changed:
            return self._load.pressure(self._clock(), self._workers)

    @property
    def answered_at(self) -> float | None:
        """When a job was last done well, on the dispatcher's clock (monotonic seconds)."""
        return self._answered_at

    @property
    def staff(self) -> Staff:
        """The workers, and what became of them. Cheap."""
        with self._changed:
            return self._crew.staff(retried=self._retried, out_of_memory=self._out_of_memory)

    @property
    def stats(self) -> DispatcherStats:
        with self._changed:
            return DispatcherStats(
                queued=self._queue.queued,
                running=self._queue.running,
                batches=self._batches,
                rows=self._rows_taken,
                superseded=self._superseded,
                rejected=self._rejected,
                failed=self._failed,
                waits=tuple(self._load.waits),
                staff=self.staff,
                answered_at=self._answered_at,
            )

    def _work(self, worker: Worker[Backend[J, R], _Batch[J]]) -> None:
        while tickets := self._next_batch(worker):
            began = self._clock()
            results = self._run(worker, [ticket.job for ticket in tickets])
            with self._changed:
                if not self._crew.end(worker):
                    return
                now = self._clock()
                self._load.ended([ticket.job for ticket in tickets], began, now)
                delivery = []
                for ticket, result in zip(tickets, results, strict=True):
                    self._queue.done(ticket, now)
                    if isinstance(result, SurtitleError):
                        self._failed += 1
                    else:
                        self._answered_at = now
                    future = self._futures.pop(ticket, None)
                    if future is not None:
                        delivery.append((future, result))
                # A partial held back by one of these may go now, on any worker.
                self._changed.notify_all()
            deliver(delivery)

    def _next_batch(self, worker: Worker[Backend[J, R], _Batch[J]]) -> _Batch[J]:
        """Wait for work. Empty means: closed, or given up."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                self._drop_overtaken(now)
                # Idle replicas share what waits rather than watch one of them do it all.
                fair = math.ceil(len(self._queue) / self._crew.idle)
                most = self._limit.of(self.max_batch, now)
                tickets = self._queue.take(
                    now, min(most, max(1, fair)), urgent_only=self._kept(now)
                )
                if tickets:
                    self._crew.begin(worker, tickets)
                    self._batches += 1
                    self._rows_taken += len(tickets)
                    for ticket in tickets:
                        waited = now - ticket.ready_at
                        self._load.began(ticket.job, now, waited)
                        self._started_job(ticket.job, waited)
                    return tickets
                self._changed.wait()
        return []

    def _kept(self, now: float) -> bool:
        """Whether the last free worker is kept for finals.

        What has begun can't be interrupted: a final that finds every worker in the middle of a
        partial waits for the first to end it. With few finals that is rare, and a loss to partials.
        """
        workers = self._workers
        if workers == 1:
            return False
        unhurried = sum(work[0].job.priority is not Priority.FINAL for work in self._crew.under_way)
        if unhurried < workers - 1:
            return False
        return self._load.strain(now, workers) >= self._reserve

    @property
    def _workers(self) -> int:
        """Those that share the load; one, while even that one is being replaced."""
        return max(1, self._crew.working)

    def _drop_overtaken(self, now: float) -> None:
        stale = [self._futures.pop(ticket, None) for ticket in self._queue.overtaken(now)]
        self._superseded += len(stale)
        deliver([(future, Superseded(_OVERTAKEN)) for future in stale if future is not None])

    def _run(
        self, worker: Worker[Backend[J, R], _Batch[J]], jobs: Sequence[J]
    ) -> Sequence[R | SurtitleError]:
        return Rows(
            name=self.name,
            backend=worker.backend,
            failure=self._failure,
            calls=partial(self._note_call, worker),
            ran_out=self._note_shortage,
            reloaded=self._note_reload,
        ).run(jobs)

    def _note_call(self, worker: Worker[Backend[J, R], _Batch[J]]) -> None:
        with self._changed:
            self._crew.progress(worker)

    def _note_shortage(self, rows: int) -> None:
        with self._changed:
            self._out_of_memory += 1
            self._limit.ran_out(rows, self._clock())

    def _note_reload(self) -> None:
        with self._changed:
            self._crew.restarts += 1

    def _worker_lost(self, tickets: _Batch[J] | None, fault: Fault) -> None:
        """Do the jobs of a lost worker once more, on any other; without another, fail all that
        waits. The lock is held.
        """
        now = self._clock()
        failures: list[tuple[asyncio.Future[R], SurtitleError]] = []
        for ticket in tickets or ():
            self._queue.done(ticket, now)
            future = self._futures.pop(ticket, None)
            if future is None:  # nobody waits for it any more
                continue
            if (error := self._retry(ticket.job, future, fault, now)) is not None:
                self._failed += 1
                failures.append((future, error))
        if self._crew.hopeless:
            stranded = [self._futures.pop(ticket, None) for ticket in self._queue.drain()]
            failures += [(future, self._away()) for future in stranded if future is not None]
        self._changed.notify_all()
        deliver(failures)

    def _retry(
        self, job: J, future: asyncio.Future[R], fault: Fault, now: float
    ) -> SurtitleError | None:
        """Queue a job again; or why it fails."""
        if self._closed:
            return ModelUnavailable(f"{self.name} has stopped.")
        before = self._again.get(future)
        cost = (fault,) if before is None else (*before.cost, fault)
        if cost.count(Fault.HUNG) >= _MOST_HUNG or len(cost) >= _MOST_LOST:
            self._suspects.append((job.session, job.segment))
            return self._failure(f"{self.name} gave up on this.")
        try:
            ticket, displaced = self._queue.put(job, now)
        except Overloaded as error:
            return error
        ticket.group = object()  # equal to no other: it shares its batch with none
        self._retried += 1
        self._futures[ticket] = future
        self._again[future] = _Again(ticket, cost)
        losers = [self._futures.pop(loser, None) for loser in displaced]
        self._superseded += len(displaced)
        deliver([(loser, Superseded(_OVERTAKEN)) for loser in losers if loser is not None])
        return None

    def _away(self) -> ModelUnavailable:
        message = f"{self.name} does not answer; the server has to be restarted."
        return ModelUnavailable(message, retry_after=_AWAY_SECONDS)
