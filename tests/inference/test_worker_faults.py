"""Workers that die or run out of memory, on real threads; time is the test's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from inference.batching import BatchQueue
from inference.dispatcher import Dispatcher
from inference.rows import Backend
from inference.supervision import Fault
from streaming.errors import RecognitionFailed, SurtitleError
from streaming.types import Priority
from tests.clock import Clock
from tests.inference.hospital import POLICY, Hospital, Model, Staffed, hanging, pass_time
from tests.inference.shouts import Job, submitted


async def test_what_all_workers_die_of_fails_and_is_not_tried_again(
    staffed: Staffed, hospital: Hospital
) -> None:
    dispatcher = staffed(renew=lambda _backend, _fault: Model(hospital))
    (task,) = await submitted(dispatcher, Job("die", segment=7))
    dispatcher.start()
    with pytest.raises(RecognitionFailed):
        await task
    assert len(hospital.done) == 3
    with pytest.raises(RecognitionFailed):
        await dispatcher.submit(Job("die", segment=7, revision=1))
    assert len(hospital.done) == 3
    assert await dispatcher.submit(Job("well", segment=8)) == "WELL"


async def test_a_dead_thread_is_replaced_and_its_jobs_done_again(
    staffed: Staffed, hospital: Hospital, caplog: pytest.LogCaptureFixture
) -> None:
    faults: list[Fault] = []

    def renew(_backend: Backend[Job, str], fault: Fault) -> Model:
        faults.append(fault)
        return Model(hospital, mortal=False)

    dispatcher = staffed(renew=renew)
    tasks = await submitted(dispatcher, Job("a"), Job("die"))
    dispatcher.start()
    assert await asyncio.gather(*tasks) == ["A", "DIE"]
    staff = dispatcher.stats.staff
    assert (staff.hung, staff.restarts, staff.retried, staff.working) == (0, 1, 2, 1)
    assert faults == [Fault.DIED]
    assert "a worker died" in caplog.text
    assert dispatcher.stats.running == 0


async def test_a_replica_that_cannot_be_made_is_tried_again(
    staffed: Staffed, hospital: Hospital, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[Fault] = []

    def renew(_backend: Backend[Job, str], fault: Fault) -> Model:
        tries.append(fault)
        if len(tries) < 2:
            raise MemoryError
        return Model(hospital, mortal=False)

    dispatcher = staffed(renew=renew)
    tasks = await submitted(dispatcher, Job("die"))
    dispatcher.start()
    assert await asyncio.gather(*tasks) == ["DIE"]
    assert len(tries) == 2
    assert "no new replica could be made" in caplog.text


async def test_loading_may_hang_as_well(staffed: Staffed, hospital: Hospital, clock: Clock) -> None:
    loading = threading.Semaphore(0)
    never = threading.Event()
    first = True

    def renew(_backend: Backend[Job, str], _fault: Fault) -> Model:
        nonlocal first
        if first:
            first = False
            loading.release()
            assert never.wait(60)
        return Model(hospital, mortal=False)

    dispatcher = staffed(renew=renew)
    tasks = await submitted(dispatcher, Job("die"))
    dispatcher.start()
    assert await asyncio.to_thread(loading.acquire, timeout=30)
    pass_time(dispatcher, clock, 121)
    assert await asyncio.gather(*tasks) == ["DIE"]
    assert hanging(dispatcher) == 1
    never.set()


async def test_batches_are_smaller_after_memory_ran_out(hospital: Hospital, clock: Clock) -> None:
    sizes: list[int] = []

    class Small(Model):
        def run(self, jobs: Sequence[Job]) -> Sequence[str | SurtitleError]:
            sizes.append(len(jobs))
            if len(jobs) > 2:
                raise RuntimeError("std::bad_alloc")
            return super().run(jobs)

    dispatcher: Dispatcher[Job, str] = Dispatcher(
        name="small",
        backends=[Small(hospital)],
        queue=BatchQueue(group=lambda _job: 0),
        max_batch=4,
        failure=RecognitionFailed,
        clock=clock,
        supervision=POLICY,
    )
    for expected in ([4, 2, 2], [2, 2]):
        tasks = await submitted(dispatcher, *(Job(str(n)) for n in range(4)))
        dispatcher.start()
        assert await asyncio.gather(*tasks) == ["0", "1", "2", "3"]
        if expected == [4, 2, 2]:
            assert sizes[: len(expected)] == expected
        else:
            assert max(sizes[3:]) <= 2
    assert dispatcher.stats.staff.out_of_memory == 1
    await dispatcher.close()


async def test_success_is_noted_with_its_time(staffed: Staffed, clock: Clock) -> None:
    dispatcher = staffed()
    assert dispatcher.stats.answered_at is None
    dispatcher.start()
    await dispatcher.submit(Job("a", priority=Priority.OFFLINE))
    assert dispatcher.stats.answered_at == clock.now
