"""Workers that hang, on real threads; time is the test's."""

from __future__ import annotations

import asyncio
import logging
import threading
import weakref
from dataclasses import replace

import pytest

from inference.rows import Backend
from inference.supervision import Fault
from streaming.errors import ModelUnavailable, RecognitionFailed
from tests.clock import Clock
from tests.inference.hospital import POLICY, Hospital, Model, Staffed, hanging, pass_time, stuck
from tests.inference.shouts import Job, submitted


async def test_a_hung_call_is_given_up_and_its_jobs_done_elsewhere(
    staffed: Staffed, hospital: Hospital, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = staffed()
    tasks = await submitted(dispatcher, Job("a"), Job("hang"), Job("b"))
    dispatcher.start()
    await stuck(hospital)
    pass_time(dispatcher, clock, 59)
    assert not any(task.done() for task in tasks), "no call came back yet: it may take longest"
    with caplog.at_level(logging.ERROR):
        pass_time(dispatcher, clock, 2)
        assert await asyncio.gather(*tasks) == ["A", "HANG", "B"]
    assert "given up" in caplog.text
    first, *again = hospital.done
    assert first == (0, ["a", "hang", "b"])
    assert again == [(1, ["a"]), (1, ["hang"]), (1, ["b"])], (
        "each alone, to find the one that hangs"
    )
    staff = dispatcher.stats.staff
    assert (staff.hung, staff.restarts, staff.retried, staff.abandoned) == (1, 1, 3, 1)
    assert (staff.working, staff.wanted, staff.exhausted) == (1, 1, False)


async def test_a_hang_of_one_replica_holds_up_no_other(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    dispatcher = staffed(2, max_batch=1)
    dispatcher.start()
    (hung,) = await submitted(dispatcher, Job("hang"))
    await stuck(hospital)
    texts = [f"text {number}" for number in range(10)]
    assert await asyncio.gather(*(dispatcher.submit(Job(text)) for text in texts)) == [
        text.upper() for text in texts
    ]
    assert not hung.done()
    pass_time(dispatcher, clock, 11)
    assert await hung == "HANG", "others came back at once: ten seconds are enough"


async def test_a_replica_that_comes_back_is_used_again_and_its_stand_in_let_go(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    stand_ins: list[weakref.ref[Model]] = []

    def renew(_backend: Backend[Job, str], _fault: Fault) -> Model:
        model = Model(hospital)
        stand_ins.append(weakref.ref(model))
        return model

    dispatcher = staffed(renew=renew)
    (task,) = await submitted(dispatcher, Job("hang"))
    dispatcher.start()
    await stuck(hospital)
    thread = next(t for t in threading.enumerate() if t.name == "model-0")
    pass_time(dispatcher, clock, 61)
    assert await task == "HANG"
    assert hanging(dispatcher) == 1
    hospital.release.set()
    await asyncio.to_thread(thread.join, 30)
    after = dispatcher.stats.staff
    assert (after.abandoned, after.working) == (0, 1)
    (stand_in,) = stand_ins
    assert stand_in() is None, "its memory is free"
    assert await dispatcher.submit(Job("next")) == "NEXT"
    assert hospital.done[-1] == (0, ["next"])


async def test_a_replica_that_comes_back_while_its_stand_in_loads_or_works(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    loading, loaded = threading.Semaphore(0), threading.Semaphore(0)
    made: list[weakref.ref[Model]] = []

    def renew(_backend: Backend[Job, str], _fault: Fault) -> Model:
        loading.release()
        assert loaded.acquire(timeout=30)
        model = Model(hospital)
        made.append(weakref.ref(model))
        return model

    dispatcher = staffed(renew=renew)
    (task,) = await submitted(dispatcher, Job("hang"))
    dispatcher.start()
    await stuck(hospital)
    first = next(t for t in threading.enumerate() if t.name == "model-0")
    pass_time(dispatcher, clock, 61)
    assert await asyncio.to_thread(loading.acquire, timeout=30)
    hospital.release.set()
    await asyncio.to_thread(first.join, 30)
    loaded.release()
    assert await task == "HANG"
    assert hospital.done[-1] == (0, ["hang"]), "what it loads meanwhile is not needed"

    hospital.hung = False
    hospital.release.clear()
    (task,) = await submitted(dispatcher, Job("hang"))
    await stuck(hospital)
    second = next(t for t in threading.enumerate() if t.name == "model-1")
    loaded.release()
    # Calls have come back: more than the shortest bound, and what is done again would hang, too.
    pass_time(dispatcher, clock, 11)
    assert await task == "HANG"
    assert hospital.done[-1][0] != 0
    hospital.release.set()
    await asyncio.to_thread(second.join, 30)
    assert await dispatcher.submit(Job("next")) == "NEXT"
    assert hospital.done[-1] == (0, ["next"])
    assert [model() for model in made] == [None, None]


async def test_a_stand_in_that_comes_back_is_not_taken_for_what_still_hangs(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    gate = hospital.gates[1] = threading.Event()
    dispatcher = staffed(renew=lambda _backend, _fault: Model(hospital))
    (task,) = await submitted(dispatcher, Job("poison"))
    dispatcher.start()
    for _ in range(2):  # in what it began with, and in its stand-in
        await stuck(hospital)
        pass_time(dispatcher, clock, 61)
    with pytest.raises(RecognitionFailed):
        await task
    first, second = (t for t in threading.enumerate() if t.name in {"model-0", "model-1"})
    for released, thread, used in ((gate, second, 2), (hospital.release, first, 0)):
        released.set()
        await asyncio.to_thread(thread.join, 30)
        assert await dispatcher.submit(Job("next")) == "NEXT"
        assert hospital.done[-1] == (used, ["next"])


async def test_a_stand_in_that_could_not_be_loaded_is_not_taken_for_what_still_hangs(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    loading, failing = threading.Event(), threading.Event()
    made: list[int] = []

    def renew(backend: Backend[Job, str], fault: Fault) -> Backend[Job, str]:
        if fault is Fault.DIED:
            return backend
        if not loading.is_set():
            loading.set()
            assert failing.wait(30)
            raise RuntimeError("no memory after all")
        model = Model(hospital, mortal=False)
        made.append(model.number)
        return model

    dispatcher = staffed(renew=renew, policy=replace(POLICY, most_abandoned=1))
    (task,) = await submitted(dispatcher, Job("hang"))
    dispatcher.start()
    await stuck(hospital)
    pass_time(dispatcher, clock, 61)
    assert await asyncio.to_thread(loading.wait, 30)
    pass_time(dispatcher, clock, POLICY.loading + 1)
    assert dispatcher.stats.staff.exhausted
    with pytest.raises(ModelUnavailable):
        await task
    failing.set()
    second = next(t for t in threading.enumerate() if t.name == "model-1")
    await asyncio.to_thread(second.join, 30)
    assert await dispatcher.submit(Job("next")) == "NEXT"
    assert hospital.done[-1] == (made[0], ["next"])


async def test_what_hangs_wherever_it_runs_fails_and_is_not_tried_again(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    dispatcher = staffed()
    tasks = await submitted(dispatcher, Job("poison", segment=7), Job("innocent"))
    dispatcher.start()
    for _ in range(2):
        await stuck(hospital)
        pass_time(dispatcher, clock, 61)
    poisoned, innocent = await asyncio.gather(*tasks, return_exceptions=True)
    assert innocent == "INNOCENT"
    assert isinstance(poisoned, RecognitionFailed)
    assert poisoned.retryable
    assert dispatcher.stats.staff.hung == 2
    with pytest.raises(RecognitionFailed):
        await dispatcher.submit(Job("poison", segment=7, revision=1))
    assert dispatcher.stats.staff.hung == 2
    assert await dispatcher.submit(Job("well", segment=8)) == "WELL"


async def test_what_hangs_once_and_meets_a_dying_worker_is_done_all_the_same(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    """Two faults that have nothing to do with it, one after the other."""
    mortal = iter([True, False])
    dispatcher = staffed(renew=lambda _backend, _fault: Model(hospital, mortal=next(mortal)))
    (task,) = await submitted(dispatcher, Job("hang die"))
    dispatcher.start()
    await stuck(hospital)
    pass_time(dispatcher, clock, 61)
    assert await task == "HANG DIE"
    assert dispatcher.stats.staff.retried == 2
    assert [texts for _, texts in hospital.done] == 3 * [["hang die"]]
    assert dispatcher._again == {}


async def test_a_job_nobody_waits_for_is_not_done_again(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    dispatcher = staffed()
    (task,) = await submitted(dispatcher, Job("hang"))
    dispatcher.start()
    await stuck(hospital)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    pass_time(dispatcher, clock, 61)
    assert await dispatcher.submit(Job("next")) == "NEXT"
    assert dispatcher.stats.staff.retried == 0


async def test_cancelling_a_job_that_waits_for_its_second_worker(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    loading = threading.Event()

    def renew(_backend: object, _fault: Fault) -> Model:
        assert loading.wait(30)
        return Model(hospital, mortal=False)

    dispatcher = staffed(renew=renew)
    (task,) = await submitted(dispatcher, Job("hang"))
    dispatcher.start()
    await stuck(hospital)
    pass_time(dispatcher, clock, 61)
    assert sum(dispatcher.stats.queued.values()) == 1
    assert dispatcher.stats.staff.working == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sum(dispatcher.stats.queued.values()) == 0
    assert dispatcher._again == {}
    loading.set()
    assert await dispatcher.submit(Job("next")) == "NEXT"


async def test_too_many_hanging_calls_leave_the_model_away(
    staffed: Staffed, hospital: Hospital, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    dispatcher = staffed(max_batch=1)
    dispatcher.start()
    first, second = await submitted(dispatcher, Job("poison"), Job("poison"))
    for exhausted in (False, False, True):
        assert dispatcher.stats.staff.exhausted is False
        await stuck(hospital)
        pass_time(dispatcher, clock, 61)
        assert dispatcher.stats.staff.exhausted is exhausted
    assert dispatcher.stats.staff.working == 0
    failures = await asyncio.gather(first, second, return_exceptions=True)
    assert {type(failure) for failure in failures} == {RecognitionFailed, ModelUnavailable}
    with pytest.raises(ModelUnavailable):
        await dispatcher.submit(Job("late"))
    assert "only a restart helps" in caplog.text

    hung = [thread for thread in threading.enumerate() if thread.name[-1].isdigit()]
    hospital.release.set()
    for thread in hung:
        if thread.name.startswith("model-"):
            await asyncio.to_thread(thread.join, 30)
    assert dispatcher.stats.staff.exhausted is False, "they have come back after all"
    assert await dispatcher.submit(Job("well")) == "WELL"


async def test_a_machine_that_slept_is_no_reason_to_give_up(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    dispatcher = staffed()
    (task,) = await submitted(dispatcher, Job("hang"))
    dispatcher.start()
    await stuck(hospital)
    clock.now += 8 * 3600
    dispatcher._crew.look()
    assert hanging(dispatcher) == 0
    hospital.release.set()
    assert await task == "HANG"


async def test_closing_waits_for_no_call_that_hangs(
    staffed: Staffed, hospital: Hospital, clock: Clock
) -> None:
    dispatcher = staffed()
    (task,) = await submitted(dispatcher, Job("poison"))
    dispatcher.start()
    await stuck(hospital)
    pass_time(dispatcher, clock, 61)
    await stuck(hospital)
    pass_time(dispatcher, clock, 61)
    with pytest.raises(RecognitionFailed):
        await task
    await dispatcher.close()
    assert not any(thread.name == "model-watch" for thread in threading.enumerate())


async def test_closing_gives_up_what_has_only_begun_to_hang(
    staffed: Staffed, hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.dispatcher._LAST_CALLS", 0.0)
    dispatcher = staffed()
    (task,) = await submitted(dispatcher, Job("hang"))
    dispatcher.start()
    await stuck(hospital)
    await dispatcher.close()
    with pytest.raises(ModelUnavailable):
        await task
