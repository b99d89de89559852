from __future__ import annotations

import asyncio

import pytest

from app.concurrency import map_bounded


async def test_results_are_in_order_and_few_run_at_once() -> None:
    running = most = 0

    async def work(item: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(10 - item):
            await asyncio.sleep(0)
        running -= 1
        return item * 2

    assert await map_bounded(work, range(10), limit=3) == [item * 2 for item in range(10)]
    assert most == 3
    assert await map_bounded(work, [], limit=3) == []


async def test_the_first_error_comes_as_it_is_and_cancels_the_rest() -> None:
    cancelled = 0

    async def work(item: int) -> None:
        nonlocal cancelled
        if item == 1:
            raise KeyError(item)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled += 1
            raise

    with pytest.raises(KeyError):
        await map_bounded(work, range(3), limit=3)
    assert cancelled == 2
