"""Threads that each use one replica of a model, and what becomes of those that hang or die.

A call into a native library can't be interrupted. One that takes too long is given up: its thread
is left alone, what it may still return is thrown away, its work goes to ``lost``, and another
thread takes its place with a new replica that it loads itself. The others notice nothing. Once the
call has returned after all, the new replica is let go, and the old one used again: workers may
share the weights of what they began with, while a replica in its place has weights of its own.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from inference.supervision import Allowance, Fault, Staff, Supervision, WatchedTime, backoff

logger = logging.getLogger(__name__)

B = TypeVar("B")
W = TypeVar("W")

Renew = Callable[[B, Fault], B]
"""Makes a replica in place of another: blocking, in the thread that will use it. Anything raised
means: not now."""

_LOOK: Final = 0.5
"""Seconds between looks at what runs; less where calls may take less than a few of these."""


@dataclass(slots=True, eq=False)
class Worker(Generic[B, W]):
    """A thread's replica, and what it does."""

    number: int
    backend: B
    home: B
    """What it uses unless a call hangs there."""
    stands_in: bool = False
    """It has a replica of its own, or loads one, because a call hangs in ``home``."""
    fault: Fault | None = None
    """Why it replaces another: it has to get a replica first."""
    since: float = 0.0
    """Watched time since when it loads, or calls its model."""
    work: W | None = None
    gone: bool = False
    """Given up: whatever it returns is thrown away."""

    @property
    def idle(self) -> bool:
        """Whether it would take work now."""
        return self.fault is None and self.work is None


class Crew(Generic[B, W]):
    """The workers of one model.

    ``serve`` is what a worker's thread does: take work, tell :meth:`begin`, do it, and go on as
    long as :meth:`end` says so. ``lock`` is the owner's; all methods but :meth:`start`,
    :meth:`join` and :meth:`look` are called with it held, and so is ``lost``, which is given the
    work of a lost worker: None if it had none, and was the last.
    """

    def __init__(
        self,
        *,
        name: str,
        backends: Sequence[B],
        lock: threading.RLock,
        serve: Callable[[Worker[B, W]], None],
        lost: Callable[[W | None, Fault], None],
        renew: Renew[B] | None = None,
        policy: Supervision | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self.policy = policy or Supervision()
        self.wanted = len(backends)
        self.hung = self.restarts = 0
        self._lock = lock
        self._serve = serve
        self._lost = lost
        self._renew: Renew[B] = renew or (lambda backend, _fault: backend)
        self._clock = clock
        self._allowance = Allowance(self.policy)
        self._interval = min(_LOOK, self.policy.longest / 4)
        self._watched = WatchedTime(self._interval)
        self._workers = [Worker[B, W](number, one, one) for number, one in enumerate(backends)]
        self._threads: dict[Worker[B, W], threading.Thread] = {}
        self._made = len(backends)
        self._abandoned = 0
        self._failures = 0
        """Replicas lost or not made since a call came back last."""
        self._closed = False
        self._closing = threading.Condition(lock)
        self._watchdog = threading.Thread(target=self._watch, name=f"{name}-watch", daemon=True)

    # ------------------------------------------------------------ for the owner

    def start(self) -> None:
        """Start the threads, once."""
        self._watchdog.start()
        with self._lock:
            for worker in self._workers:
                self._employ(worker)

    def close(self) -> None:
        """Replace nobody any more. ``serve`` is the owner's to end."""
        self._closed = True
        self._closing.notify_all()

    def join(self, timeout: float) -> bool:
        """Wait for the threads, after :meth:`close`, but not for those that hang: blocking.

        Returns whether all the others ended in time.
        """
        end = time.monotonic() + timeout
        with self._lock:
            threads = [self._watchdog, *self._threads.values()]
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in threads)

    @property
    def idle(self) -> int:
        """Workers that would take work now."""
        return sum(worker.idle for worker in self._workers)

    @property
    def under_way(self) -> list[W]:
        """What is being worked on."""
        return [worker.work for worker in self._workers if worker.work is not None]

    @property
    def working(self) -> int:
        """Workers that have their replica."""
        return sum(worker.fault is None for worker in self._workers)

    @property
    def hopeless(self) -> bool:
        """Whether no worker is left, nor will be."""
        return not self._workers

    def staff(self, *, retried: int = 0, out_of_memory: int = 0) -> Staff:
        """How it stands, with what the owner counts."""
        return Staff(
            wanted=self.wanted,
            working=self.working,
            restarts=self.restarts,
            hung=self.hung,
            retried=retried,
            out_of_memory=out_of_memory,
            abandoned=self._abandoned,
            exhausted=self._abandoned > self.policy.most_abandoned,
        )

    # ------------------------------------------------------------ for the workers' threads

    def begin(self, worker: Worker[B, W], work: W) -> None:
        """A worker has taken work."""
        worker.work = work
        worker.since = self._watched.look(self._clock())

    def progress(self, worker: Worker[B, W]) -> None:
        """Work takes more than one call, and the next begins: each has its own time."""
        worker.since = self._watched.look(self._clock())

    def end(self, worker: Worker[B, W]) -> bool:
        """Work is done. False: the worker was given up; its results are to be thrown away."""
        if worker.gone:
            return False
        self._allowance.note(self._watched.look(self._clock()) - worker.since)
        worker.work = None
        self._failures = 0
        return True

    # ------------------------------------------------------------ watching

    def look(self) -> None:
        """Give up what takes too long."""
        with self._lock:
            now = self._watched.look(self._clock())
            if self._closed:
                return
            for worker in list(self._workers):
                loads = worker.fault is not None
                bound = self.policy.loading if loads else self._allowance.seconds
                if (loads or worker.work is not None) and now - worker.since > bound:
                    self._give_up(worker, now - worker.since)

    def _watch(self) -> None:
        with self._closing:
            while not self._closed:
                self.look()
                self._closing.wait(self._interval)

    def _give_up(self, worker: Worker[B, W], seconds: float) -> None:
        worker.gone = True
        self.hung += 1
        self._abandoned += 1
        logger.error(
            "%s: a call hangs since %.1f s and was given up (%d hang)",
            self.name,
            seconds,
            self._abandoned,
        )
        self._replace(worker, Fault.HUNG)

    def _replace(self, worker: Worker[B, W], fault: Fault) -> None:
        """Strike a worker from the list, have another in its place, and pass its work on."""
        self._workers.remove(worker)
        self._threads.pop(worker, None)
        self._failures += 1
        if self._abandoned > self.policy.most_abandoned:
            logger.critical("%s: too many calls hang; only a restart helps", self.name)
        else:
            self._hire(worker, fault)
        if worker.work is not None or self.hopeless:
            self._lost(worker.work, fault)

    def _hire(self, lost: Worker[B, W], fault: Fault) -> None:
        self.restarts += 1
        worker = Worker[B, W](
            self._made,
            lost.backend,
            lost.home,
            stands_in=lost.stands_in or fault is Fault.HUNG,
            fault=fault,
            since=self._watched.seconds,
        )
        self._made += 1
        self._workers.append(worker)
        self._employ(worker)

    def _employ(self, worker: Worker[B, W]) -> None:
        name = f"{self.name}-{worker.number}"
        thread = threading.Thread(target=self._live, args=(worker,), name=name, daemon=True)
        self._threads[worker] = thread
        thread.start()

    # ------------------------------------------------------------ a thread's life

    def _live(self, worker: Worker[B, W]) -> None:
        try:
            if worker.fault is None or self._equip(worker, worker.fault):
                self._serve(worker)
        except BaseException:  # a thread that dies is replaced, whatever killed it
            logger.exception("%s: a worker died", self.name)
            with self._lock:
                if not (worker.gone or self._closed):
                    self._replace(worker, Fault.DIED)
                elif not worker.gone and worker.work is not None:
                    self._lost(worker.work, Fault.DIED)
        if worker.gone:
            self._came_back(worker)

    def _equip(self, worker: Worker[B, W], fault: Fault) -> bool:
        """Get a replica, however often it takes; whether the worker may begin."""
        while True:
            with self._closing:
                wait = backoff(self._failures)
                if wait and not self._closed and not worker.gone:
                    self._closing.wait(wait)
                if self._closed or worker.gone:
                    return False
                worker.since = self._watched.look(self._clock())
            try:
                backend = self._renew(worker.backend, fault)
            except Exception:
                logger.exception("%s: no new replica could be made", self.name)
                with self._lock:
                    self._failures += 1
                continue
            with self._lock:
                if worker.stands_in or fault is not Fault.HUNG:  # else it was recalled meanwhile
                    worker.backend = backend
                if not worker.stands_in:
                    worker.home = worker.backend
                worker.fault = None
                if not worker.gone:
                    logger.warning("%s: a new replica has taken over", self.name)
                return not worker.gone

    def _came_back(self, lost: Worker[B, W]) -> None:
        """A call that had been given up has returned after all: its replica may be used again."""
        with self._lock:
            self._abandoned -= 1
            logger.warning("%s: a call that was given up has returned", self.name)
            if len(self._workers) < self.wanted and not self._closed:
                # One that never got a replica would go back to what hangs.
                self._hire(lost, lost.fault or Fault.DIED)
            else:
                # Ends with this method, without the lock: freeing a model takes its time.
                _let_go = self._recall(lost)

    def _recall(self, lost: Worker[B, W]) -> B | None:
        """Have a stand-in use what its place began with; return what it had instead, if any.

        A call that is under way still ends in that.
        """
        if lost.stands_in:
            return None
        for worker in self._workers:
            if worker.stands_in and worker.home is lost.home:
                let_go, worker.backend = worker.backend, worker.home
                worker.stands_in = False
                return let_go
        return None
