from __future__ import annotations

import asyncio
import gc

import pytest

from app.singleflight import SingleFlight


class Work:
    """Something that is done when the test says so."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = 0
        self.outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def __call__(self) -> int:
        self.begun += 1
        try:
            return await asyncio.shield(self.outcome)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise


async def turn() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_it_is_done_once_for_all_who_want_it_meanwhile() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work, other = Work(), Work()
    tasks = [asyncio.create_task(flights.run("a", work)) for _ in range(5)]
    tasks.append(asyncio.create_task(flights.run("b", other)))
    await turn()
    assert (work.begun, other.begun, len(flights), flights.shared) == (1, 1, 2, 4)
    work.outcome.set_result(7)
    other.outcome.set_result(8)
    assert await asyncio.gather(*tasks) == [7] * 5 + [8]
    assert len(flights) == 0
    again = Work()
    again.outcome.set_result(9)
    assert await flights.run("a", again) == 9


async def test_an_error_is_everybodys_and_not_kept() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    tasks = [asyncio.create_task(flights.run("a", work)) for _ in range(3)]
    await turn()
    work.outcome.set_exception(ValueError("no"))
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [str(result) for result in results] == ["no"] * 3
    again = Work()
    again.outcome.set_result(1)
    assert await flights.run("a", again) == 1


@pytest.mark.parametrize("leaver", [0, 1])
async def test_who_leaves_leaves_the_others_alone(leaver: int) -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work = Work()
    tasks = [asyncio.create_task(flights.run("a", work)) for _ in range(2)]
    await turn()
    tasks[leaver].cancel()
    await turn()
    assert tasks[leaver].cancelled()
    work.outcome.set_result(7)
    assert await tasks[1 - leaver] == 7
    assert work.cancelled == 0


async def test_the_last_to_leave_ends_the_work_and_who_comes_then_begins_anew() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    work, fresh = Work(), Work()
    tasks = [asyncio.create_task(flights.run("a", work)) for _ in range(2)]
    await turn()
    for task in tasks:
        task.cancel()
    await asyncio.sleep(0)  # the work does not yet know
    newcomer = asyncio.create_task(flights.run("a", fresh))
    await turn()
    assert work.cancelled == 1
    fresh.outcome.set_result(3)
    assert await newcomer == 3
    assert len(flights) == 0


async def test_an_error_that_nobody_waits_for_is_no_noise() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    heard: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))

    async def stubborn() -> int:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError("on the way out") from None
        return 0

    task = asyncio.create_task(flights.run("a", stubborn))
    await turn()
    task.cancel()
    await turn()
    gc.collect()
    assert heard == []
