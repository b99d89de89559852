from __future__ import annotations

import asyncio
import logging
import math
import threading
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from inference.batching import BatchQueue
from inference.dispatcher import Dispatcher
from streaming.errors import (
    ModelUnavailable,
    Overloaded,
    RecognitionFailed,
    Superseded,
    SurtitleError,
)
from streaming.types import Priority
from tests.inference.shouts import Job, submitted


class Shouter:
    """Upper-cases. Waits at a gate, and tells when it got there."""

    def __init__(self, *, gated: bool = False) -> None:
        self.gate = threading.Event()
        self.entered = threading.Semaphore(0)
        self.batches: list[list[str]] = []
        self.threads: set[str] = set()
        if not gated:
            self.gate.set()

    def run(self, jobs: Sequence[Job]) -> Sequence[str | SurtitleError]:
        self.batches.append([job.text for job in jobs])
        self.threads.add(threading.current_thread().name)
        self.entered.release()
        assert self.gate.wait(30)
        if any(job.text == "poison" for job in jobs):
            raise RuntimeError("bad row")
        return [
            RecognitionFailed("refused") if job.text == "refuse" else job.text.upper()
            for job in jobs
        ]


Make = Callable[..., Dispatcher[Job, str]]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[tuple[Dispatcher[Job, str], Sequence[Shouter]]] = []

    def build(
        *backends: Shouter, max_batch: int = 4, capacity: int = 64, reserve: float = math.inf
    ) -> Dispatcher[Job, str]:
        dispatcher: Dispatcher[Job, str] = Dispatcher(
            name="shouter",
            backends=backends,
            queue=BatchQueue(group=lambda _job: 0, capacity=capacity, reserved=0, patience=0.0),
            max_batch=max_batch,
            failure=RecognitionFailed,
            reserve=reserve,
        )
        made.append((dispatcher, backends))
        return dispatcher

    yield build
    for dispatcher, backends in made:
        for backend in backends:
            backend.gate.set()
        await dispatcher.close()


async def entered(backend: Shouter) -> None:
    assert await asyncio.to_thread(backend.entered.acquire, timeout=30)


async def test_results_go_to_those_who_asked(make: Make) -> None:
    backend = Shouter()
    dispatcher = make(backend)
    dispatcher.start()
    texts = [f"text {number}" for number in range(20)]
    results = await asyncio.gather(*(dispatcher.submit(Job(text)) for text in texts))
    assert results == [text.upper() for text in texts]
    assert backend.threads == {"shouter-0"}
    assert max(len(batch) for batch in backend.batches) <= 4


async def test_what_waits_together_runs_together(make: Make) -> None:
    backend = Shouter()
    dispatcher = make(backend)
    tasks = await submitted(dispatcher, *(Job(str(number)) for number in range(6)))
    dispatcher.start()
    await asyncio.gather(*tasks)
    assert backend.batches == [["0", "1", "2", "3"], ["4", "5"]]
    stats = dispatcher.stats
    assert (stats.batches, stats.rows, stats.running) == (2, 6, 0)


async def test_idle_replicas_share_the_work(make: Make) -> None:
    backends = Shouter(gated=True), Shouter(gated=True)
    dispatcher = make(*backends)
    dispatcher.start()
    tasks = await submitted(dispatcher, Job("a"), Job("b"))
    for backend in backends:
        await entered(backend)
    for backend in backends:
        backend.gate.set()
    assert await asyncio.gather(*tasks) == ["A", "B"]


def partials(count: int) -> list[Job]:
    return [Job(f"p{n}", session=f"p{n}", priority=Priority.PARTIAL) for n in range(count)]


async def test_one_of_several_workers_is_kept_for_finals(make: Make) -> None:
    backends = Shouter(gated=True), Shouter(gated=True)
    dispatcher = make(*backends, max_batch=1, reserve=0.0)
    first = await submitted(dispatcher, Job("f0"), *partials(3))
    dispatcher.start()
    for backend in backends:
        await entered(backend)
    assert sorted(backend.batches[0][0] for backend in backends) == ["f0", "p0"]
    # Whoever did the first final is free now, and leaves the other partials alone.
    kept = next(backend for backend in backends if backend.batches == [["f0"]])
    kept.gate.set()
    await first[0]
    assert await dispatcher.submit(Job("f1")) == "F1"
    assert kept.batches == [["f0"], ["f1"]]
    for backend in backends:
        backend.gate.set()
    assert await asyncio.gather(*first) == ["F0", "P0", "P1", "P2"]


async def test_no_worker_is_kept_for_finals_that_are_few(make: Make) -> None:
    backends = Shouter(gated=True), Shouter(gated=True)
    dispatcher = make(*backends, max_batch=1, reserve=0.5)
    dispatcher.start()
    tasks = await submitted(dispatcher, *partials(2))
    for backend in backends:
        await entered(backend)
    for backend in backends:
        backend.gate.set()
    assert await asyncio.gather(*tasks) == ["P0", "P1"]


async def test_one_bad_row_fails_alone(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    backend = Shouter()
    dispatcher = make(backend)
    tasks = await submitted(dispatcher, Job("a"), Job("poison"), Job("refuse"), Job("b"))
    dispatcher.start()
    with caplog.at_level(logging.ERROR):
        results = await asyncio.gather(*tasks, return_exceptions=True)
    assert (results[0], results[3]) == ("A", "B")
    for failed in results[1:3]:
        assert isinstance(failed, RecognitionFailed)
    poisoned = results[1]
    assert isinstance(poisoned, RecognitionFailed)
    assert "bad row" not in poisoned.message, "internals are for the log"
    assert isinstance(poisoned.__cause__, RuntimeError)
    assert "bad row" in caplog.text
    assert backend.batches[1:] == [["a"], ["poison"], ["refuse"], ["b"]]
    assert dispatcher.stats.failed == 2


async def test_too_few_results_fail_the_rows_not_the_worker(make: Make) -> None:
    class Forgetful(Shouter):
        def run(self, jobs: Sequence[Job]) -> Sequence[str | SurtitleError]:
            return super().run(jobs)[:-1] if len(jobs) > 1 else super().run(jobs)

    dispatcher = make(Forgetful())
    tasks = await submitted(dispatcher, Job("a"), Job("b"))
    dispatcher.start()
    assert await asyncio.gather(*tasks) == ["A", "B"]


async def test_a_displaced_partial_is_told(make: Make) -> None:
    backend = Shouter()
    dispatcher = make(backend)
    partials = [Job(f"r{n}", segment=1, revision=n, priority=Priority.PARTIAL) for n in (1, 2)]
    older, newer = await submitted(dispatcher, *partials)
    with pytest.raises(Superseded):
        await older
    dispatcher.start()
    assert await newer == "R2"
    assert backend.batches == [["r2"]]
    assert dispatcher.stats.superseded == 1


async def test_a_partial_waits_for_the_running_one_of_its_session(make: Make) -> None:
    first, second = Shouter(gated=True), Shouter(gated=True)
    dispatcher = make(first, second, max_batch=1)
    dispatcher.start()
    jobs = [Job(f"p{n}", revision=n, segment=n, priority=Priority.PARTIAL) for n in (1, 2)]
    tasks = await submitted(dispatcher, *jobs)
    (final,) = await submitted(dispatcher, Job("final"))
    for backend in (first, second):
        await entered(backend)
    assert sorted(first.batches + second.batches) == [["final"], ["p1"]]
    for backend in (first, second):
        backend.gate.set()
    assert await asyncio.gather(*tasks, final) == ["P1", "P2", "FINAL"]


async def test_cancelling_takes_the_job_out_of_the_queue(make: Make) -> None:
    backend = Shouter()
    dispatcher = make(backend)
    gone, kept = await submitted(dispatcher, Job("gone"), Job("kept"))
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    dispatcher.start()
    assert await kept == "KEPT"
    assert backend.batches == [["kept"]]


async def test_cancelling_a_running_job_discards_its_result(make: Make) -> None:
    backend = Shouter(gated=True)
    dispatcher = make(backend, max_batch=1)
    dispatcher.start()
    running, next_one = await submitted(dispatcher, Job("running"), Job("next"))
    await entered(backend)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    backend.gate.set()
    assert await next_one == "NEXT"
    assert dispatcher.stats.running == 0


async def test_a_full_queue_refuses(make: Make) -> None:
    dispatcher = make(Shouter(), capacity=1)
    (waiting,) = await submitted(dispatcher, Job("a"))
    with pytest.raises(Overloaded):
        await dispatcher.submit(Job("b"))
    assert dispatcher.stats.rejected == 1
    dispatcher.start()
    assert await waiting == "A"


async def test_close_finishes_what_runs_and_fails_what_waits(make: Make) -> None:
    backend = Shouter(gated=True)
    dispatcher = make(backend, max_batch=1)
    dispatcher.start()
    running, waiting = await submitted(dispatcher, Job("running"), Job("waiting"))
    await entered(backend)
    closing = asyncio.create_task(dispatcher.close())
    with pytest.raises(ModelUnavailable):
        await waiting
    assert not closing.done()
    backend.gate.set()
    assert await running == "RUNNING"
    await closing
    await dispatcher.close()
    assert not any(thread.name.startswith("shouter") for thread in threading.enumerate())
    with pytest.raises(ModelUnavailable):
        await dispatcher.submit(Job("late"))


async def test_close_before_start(make: Make) -> None:
    dispatcher = make(Shouter())
    (waiting,) = await submitted(dispatcher, Job("a"))
    await dispatcher.close()
    with pytest.raises(ModelUnavailable):
        await waiting
    dispatcher.start()
    assert not any(thread.name.startswith("shouter") for thread in threading.enumerate())


def test_a_closed_loop_does_not_stop_the_worker() -> None:
    backend = Shouter(gated=True)
    dispatcher: Dispatcher[Job, str] = Dispatcher(
        name="orphan",
        backends=[backend],
        queue=BatchQueue(group=lambda _job: 0),
        max_batch=1,
        failure=RecognitionFailed,
    )
    dispatcher.start()

    async def abandon() -> None:
        future = asyncio.ensure_future(dispatcher.submit(Job("abandoned")))
        await entered(backend)
        # Left pending on purpose: its loop is closed under it.
        future._log_destroy_pending = False  # type: ignore[attr-defined]  # CPython's own switch

    loop = asyncio.new_event_loop()
    loop.run_until_complete(abandon())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    backend.gate.set()

    async def later() -> str:
        try:
            return await dispatcher.submit(Job("later"))
        finally:
            await dispatcher.close()

    assert asyncio.run(later()) == "LATER"


async def test_waits_are_measured_on_the_given_clock() -> None:
    now = 100.0
    dispatcher: Dispatcher[Job, str] = Dispatcher(
        name="timed",
        backends=[Shouter()],
        queue=BatchQueue(group=lambda _job: 0),
        max_batch=4,
        failure=RecognitionFailed,
        clock=lambda: now,
    )
    assert dispatcher.stats.wait(0.95) == 0.0
    first = await submitted(dispatcher, Job("a"))
    assert dispatcher.stats.queued == {
        Priority.FINAL: 1,
        Priority.PARTIAL: 0,
        Priority.OFFLINE: 0,
    }
    now = 102.0
    second = await submitted(dispatcher, Job("b"))
    now = 103.0
    dispatcher.start()
    await asyncio.gather(*first, *second)
    assert dispatcher.stats.waits == (3.0, 1.0)
    assert dispatcher.stats.wait(0.5) == 1.0
    assert dispatcher.stats.wait(0.95) == 3.0
    assert dispatcher.pressure.wait == 2.0
    now = 106.0
    assert dispatcher.pressure.wait == 0.0, "that was long ago"
    await dispatcher.close()


async def test_the_load_is_what_finals_take_of_the_workers() -> None:
    now = 100.0

    class Slow(Shouter):
        def run(self, jobs: Sequence[Job]) -> Sequence[str | SurtitleError]:
            nonlocal now
            now += 3.0
            return super().run(jobs)

    noted: list[tuple[str, float]] = []
    dispatcher: Dispatcher[Job, str] = Dispatcher(
        name="busy",
        backends=[Slow()],
        queue=BatchQueue(group=lambda _job: 0),
        max_batch=1,
        failure=RecognitionFailed,
        clock=lambda: now,
        started=lambda job, waited: noted.append((job.text, waited)),
    )
    jobs = Job("a"), Job("b"), Job("c", priority=Priority.PARTIAL)
    tasks = await submitted(dispatcher, *jobs)
    assert dispatcher.pressure.strain == 0.0
    dispatcher.start()
    await asyncio.gather(*tasks)
    assert dispatcher.pressure.strain == pytest.approx(6 / 9), (
        "of the nine seconds since they began"
    )
    assert dispatcher.pressure.speakers == 1
    assert noted == [("a", 0.0), ("b", 3.0), ("c", 6.0)]
    now += 100
    assert dispatcher.pressure.strain == 0.0
    await dispatcher.close()


def test_a_dispatcher_needs_a_backend() -> None:
    with pytest.raises(ValueError, match="backend"):
        Dispatcher(
            name="none",
            backends=[],
            queue=BatchQueue[Job](group=lambda _job: 0),
            max_batch=1,
            failure=RecognitionFailed,
        )
