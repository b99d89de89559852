"""Carries jobs to an engine elsewhere: a dispatcher whose workers are requests on their way.

The policy is :mod:`inference.batching`, as for models in this process. All of it runs on the event
loop, so nothing is locked.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from inference.batching import BatchQueue, Schedulable, Ticket
from inference.dispatcher import DispatcherStats
from streaming.errors import ModelUnavailable, Overloaded, Superseded, SurtitleError

logger = logging.getLogger(__name__)

J = TypeVar("J", bound=Schedulable)
R = TypeVar("R")

_REMEMBERED_WAITS: Final = 512
_OVERTAKEN: Final = "A newer request took its place."


class RemoteDispatcher(Generic[J, R]):
    """Awaitable, batched access to one remote engine, ``at_once`` batches at a time.

    ``run`` gives one result for each job, in order. When it fails with something else than
    ``ModelUnavailable``, the jobs of the batch are run one by one: one that can't be done takes no
    others along. ``failure`` makes the error of a job for which ``run`` raised no
    ``SurtitleError``. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        *,
        name: str,
        run: Callable[[Sequence[J]], Awaitable[Sequence[R]]],
        queue: BatchQueue[J],
        max_batch: int,
        at_once: int,
        failure: Callable[[str], SurtitleError],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._run = run
        self._queue = queue
        self._max_batch = max_batch
        self._at_once = at_once
        self._failure = failure
        self._clock = clock
        self._futures: dict[Ticket[J], asyncio.Future[R]] = {}
        self._batches_running: set[asyncio.Task[None]] = set()
        self._closed = False
        self._batches = self._rows = self._superseded = self._rejected = self._failed = 0
        self._waits: deque[float] = deque(maxlen=_REMEMBERED_WAITS)

    def start(self) -> None:
        """Nothing to start: requests begin when there are jobs."""

    async def submit(self, job: J) -> R:
        """As :meth:`inference.dispatcher.Dispatcher.submit`."""
        if self._closed:
            raise ModelUnavailable(f"{self.name} has stopped.")
        try:
            ticket, displaced = self._queue.put(job, self._clock())
        except Overloaded:
            self._rejected += 1
            raise
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._futures[ticket] = future
        self._lose(displaced)
        self._send()
        try:
            return await future
        except asyncio.CancelledError:
            self._futures.pop(ticket, None)
            self._queue.cancel(ticket)
            raise

    async def close(self) -> None:
        """Finish what is on its way, refuse what waits. Idempotent."""
        self._closed = True
        stopped = ModelUnavailable(f"{self.name} has stopped.")
        for ticket in self._queue.drain():
            self._settle(ticket, stopped)
        if self._batches_running:
            await asyncio.wait(self._batches_running)

    @property
    def stats(self) -> DispatcherStats:
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

    # ------------------------------------------------------------ inside

    def _send(self) -> None:
        """Begin as many batches as may be on their way."""
        while len(self._batches_running) < self._at_once:
            now = self._clock()
            self._lose(self._queue.overtaken(now))
            tickets = self._queue.take(now, self._max_batch)
            if not tickets:
                return
            self._batches += 1
            self._rows += len(tickets)
            self._waits.extend(now - ticket.ready_at for ticket in tickets)
            task = asyncio.create_task(self._carry(tickets), name=self.name)
            self._batches_running.add(task)
            task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._batches_running.discard(task)
        self._send()

    async def _carry(self, tickets: Sequence[Ticket[J]]) -> None:
        try:
            results = await self._results([ticket.job for ticket in tickets])
        finally:
            now = self._clock()
            for ticket in tickets:
                self._queue.done(ticket, now)
        for ticket, result in zip(tickets, results, strict=True):
            self._failed += isinstance(result, SurtitleError)
            self._settle(ticket, result)

    async def _results(self, jobs: Sequence[J]) -> Sequence[R | SurtitleError]:
        try:
            results = await self._run(jobs)
            if len(results) != len(jobs):
                raise RuntimeError(f"{len(results)} results for {len(jobs)} jobs")  # noqa: TRY301 - handled like any other fault
        except ModelUnavailable as error:
            return [error] * len(jobs)
        except Exception as error:
            if len(jobs) > 1:
                return [(await self._results([job]))[0] for job in jobs]
            if isinstance(error, SurtitleError):
                return [error]
            # The cause is for our log; clients are told no internals.
            logger.exception("%s could not do a job", self.name)
            return [self._failure(f"{self.name} could not process this.")]
        return results

    def _lose(self, tickets: Sequence[Ticket[J]]) -> None:
        self._superseded += len(tickets)
        for ticket in tickets:
            self._settle(ticket, Superseded(_OVERTAKEN))

    def _settle(self, ticket: Ticket[J], result: R | SurtitleError) -> None:
        future = self._futures.pop(ticket, None)
        if future is None or future.done():  # nobody waits any more
            return
        if isinstance(result, SurtitleError):
            future.set_exception(result)
        else:
            future.set_result(result)
