"""Carries jobs from the event loop to worker threads and results back.

The policy is :mod:`inference.batching`; this is its clock, its lock and its threads. Nothing here
blocks the loop: the lock is held for the length of a queue operation only, models run in the
workers, and the workers are joined off the loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from inference.batching import BatchQueue, Schedulable, Ticket
from streaming.errors import ModelUnavailable, Overloaded, Superseded, SurtitleError
from streaming.types import Pressure, Priority

logger = logging.getLogger(__name__)

J = TypeVar("J", bound=Schedulable)
J_contra = TypeVar("J_contra", bound=Schedulable, contravariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

_REMEMBERED_WAITS = 512
_OVERTAKEN = "A newer request took its place."
_STRAIN_WINDOW = 15.0
"""Seconds over which the load is measured: a few utterances of every speaker."""
_RECENT = 2.0
"""Seconds over which waits are averaged."""


class Backend(Protocol[J_contra, R_co]):
    """One replica of a model, used by one thread at a time."""

    def run(self, jobs: Sequence[J_contra]) -> Sequence[R_co | SurtitleError]:
        """One result for each job, in order: blocking. A row that can't be done is an error
        among the results; raising makes the dispatcher run every row alone.
        """
        ...


@dataclass(frozen=True, slots=True)
class DispatcherStats:
    """Counters since the start, and what is going on now."""

    queued: Mapping[Priority, int]
    running: int
    batches: int
    rows: int
    superseded: int
    rejected: int
    """Jobs refused because the queue was full."""
    failed: int
    waits: tuple[float, ...]
    """Seconds the last jobs waited before they ran, oldest first."""

    def wait(self, quantile: float) -> float:
        """A quantile (0…1) of the last waits in seconds, by nearest rank; 0 without any."""
        if not self.waits:
            return 0.0
        ranked = sorted(self.waits)
        return ranked[max(0, math.ceil(quantile * len(ranked)) - 1)]


class Dispatcher(Generic[J, R]):
    """Awaitable, batched access to blocking backends, one worker thread each.

    ``failure`` makes the error of a job whose backend raised something else than a
    ``SurtitleError``. ``clock`` gives monotonic seconds. ``started`` is told of each job that a
    worker begins, and how many seconds it has waited for one. ``reserve`` is the strain from which
    one of several workers is kept for finals: for backends whose jobs take long.
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
        reserve: float = math.inf,
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
        self._reserve = reserve if len(backends) > 1 else math.inf
        self._changed = threading.Condition()
        self._futures: dict[Ticket[J], asyncio.Future[R]] = {}
        self._closed = False
        self._started = False
        self._idle = len(backends)
        self._unhurried = 0
        """Workers that run something else than finals."""
        self._batches = self._rows = self._superseded = self._rejected = self._failed = 0
        self._waits: deque[float] = deque(maxlen=_REMEMBERED_WAITS)
        self._urgent: deque[tuple[float, float]] = deque(maxlen=_REMEMBERED_WAITS)
        """When the last finals began to run, and how long they had waited."""
        self._work_done: deque[tuple[float, tuple[float, set[str]]]] = deque()
        """When batches with finals ended, the seconds the finals took of them, and whose they
        were."""
        self._threads = [
            threading.Thread(
                target=self._work, args=(backend,), name=f"{name}-{number}", daemon=True
            )
            for number, backend in enumerate(backends)
        ]

    def start(self) -> None:
        """Start the workers. What was submitted before waits for this. Idempotent."""
        with self._changed:
            if self._started or self._closed:
                return
            self._started = True
        for thread in self._threads:
            thread.start()

    async def submit(self, job: J) -> R:
        """Run one job and return its result.

        Raises the job's own error, ``Superseded`` when a newer one took its place, ``Overloaded``
        when there is no room, ``ModelUnavailable`` after ``close``. Cancelling removes the job
        from the queue; when it already runs, its result is discarded.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._closed:
                raise ModelUnavailable(f"{self.name} has stopped.")
            try:
                ticket, displaced = self._queue.put(job, self._clock())
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
                self._futures.pop(ticket, None)
                self._queue.cancel(ticket)
            raise

    async def close(self) -> None:
        """Stop: what runs is finished and delivered, what waits fails with ``ModelUnavailable``.

        Returns when all workers have ended. Idempotent.
        """
        with self._changed:
            self._closed = True
            started = self._started
            stranded = [self._futures.pop(ticket, None) for ticket in self._queue.drain()]
            self._changed.notify_all()
        stopped = ModelUnavailable(f"{self.name} has stopped.")
        deliver([(future, stopped) for future in stranded if future is not None])
        if started:
            await asyncio.to_thread(self._join)

    @property
    def pressure(self) -> Pressure:
        """How much is asked of the workers, of late."""
        with self._changed:
            now = self._clock()
            _forget(self._urgent, now - _RECENT)
            strain = self._strain(now)
            waits = [wait for _, wait in self._urgent]
            speakers = {name for _, (_, names) in self._work_done for name in names}
        return Pressure(
            strain=strain,
            wait=sum(waits) / len(waits) if waits else 0.0,
            speakers=len(speakers),
            workers=len(self._threads),
        )

    def _note_work(self, tickets: Sequence[Ticket[J]], began: float, ended: float) -> None:
        names = {t.job.session for t in tickets if t.job.priority is Priority.FINAL}
        finals = sum(ticket.job.priority is Priority.FINAL for ticket in tickets)
        if finals:
            seconds = (ended - began) * finals / len(tickets)
            self._work_done.append((ended, (seconds, names)))

    @property
    def stats(self) -> DispatcherStats:
        with self._changed:
            return DispatcherStats(
                queued=self._queue.queued,
                running=self._queue.running,
                batches=self._batches,
                rows=self._rows,
                superseded=self._superseded,
                rejected=self._rejected,
                failed=self._failed,
                waits=tuple(self._waits),
            )

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _work(self, backend: Backend[J, R]) -> None:
        while tickets := self._next_batch():
            unhurried = tickets[0].job.priority is not Priority.FINAL
            began = self._clock()
            results = self._run(backend, [ticket.job for ticket in tickets])
            with self._changed:
                now = self._clock()
                self._note_work(tickets, began, now)
                self._idle += 1
                self._unhurried -= unhurried
                delivery = []
                for ticket, result in zip(tickets, results, strict=True):
                    self._queue.done(ticket, now)
                    self._failed += isinstance(result, SurtitleError)
                    future = self._futures.pop(ticket, None)
                    if future is not None:
                        delivery.append((future, result))
                # A partial held back by one of these may go now, on any worker.
                self._changed.notify_all()
            deliver(delivery)

    def _next_batch(self) -> list[Ticket[J]]:
        """Wait for work. Empty means: closed."""
        with self._changed:
            while not self._closed:
                now = self._clock()
                self._drop_overtaken(now)
                # Idle replicas share what waits rather than watch one of them do it all.
                fair = math.ceil(len(self._queue) / self._idle)
                tickets = self._queue.take(
                    now, min(self.max_batch, max(1, fair)), urgent_only=self._kept(now)
                )
                if tickets:
                    self._idle -= 1
                    self._unhurried += tickets[0].job.priority is not Priority.FINAL
                    self._batches += 1
                    self._rows += len(tickets)
                    for ticket in tickets:
                        waited = now - ticket.ready_at
                        self._waits.append(waited)
                        if ticket.job.priority is Priority.FINAL:
                            self._urgent.append((now, waited))
                        self._started_job(ticket.job, waited)
                    return tickets
                self._changed.wait()
        return []

    def _kept(self, now: float) -> bool:
        """Whether the last free worker is kept for finals.

        What has begun can't be interrupted: a final that finds every worker in the middle of a
        partial waits for the first to end it. With few finals that is rare, and a loss to partials.
        """
        if self._unhurried < len(self._threads) - 1:
            return False
        return self._strain(now) >= self._reserve

    def _strain(self, now: float) -> float:
        _forget(self._work_done, now - _STRAIN_WINDOW)
        busy = sum(seconds for _, (seconds, _) in self._work_done)
        return min(1.0, busy / (_STRAIN_WINDOW * len(self._threads)))

    def _drop_overtaken(self, now: float) -> None:
        stale = [self._futures.pop(ticket, None) for ticket in self._queue.overtaken(now)]
        self._superseded += len(stale)
        deliver([(future, Superseded(_OVERTAKEN)) for future in stale if future is not None])

    def _run(self, backend: Backend[J, R], jobs: Sequence[J]) -> Sequence[R | SurtitleError]:
        try:
            results = backend.run(jobs)
            if len(results) != len(jobs):
                raise RuntimeError(f"{len(results)} results for {len(jobs)} jobs")  # noqa: TRY301 - it is retried like any other fault
        except Exception as error:
            if len(jobs) > 1:
                return [self._run(backend, [job])[0] for job in jobs]
            if isinstance(error, SurtitleError):
                return [error]
            # The cause is for our log; clients are told no internals.
            logger.exception("%s could not do a job", self.name)
            failed = self._failure(f"{self.name} could not process this.")
            failed.__cause__ = error
            return [failed]
        return results


def _forget(noted: deque[tuple[float, Any]], before: float) -> None:
    while noted and noted[0][0] < before:
        noted.popleft()


def deliver(results: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    """Hand results to their loops, one call for each loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for future, result in results:
        by_loop.setdefault(future.get_loop(), []).append((future, result))
    for loop, items in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, items)
        except RuntimeError:  # the loop has closed: nobody waits for these any more
            logger.debug("%d results came after their event loop had closed", len(items))


def _settle(items: Sequence[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in items:
        if future.done():  # cancelled meanwhile
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
