from __future__ import annotations

import asyncio
import time

from app.looplag import TICK_SECONDS, LoopLag


def test_quantiles_and_the_worst_of_late() -> None:
    lag = LoopLag()
    assert (lag.quantile(0.99), lag.worst(1.0)) == (0.0, 0.0)
    for _ in range(80):
        lag.note(0.001)
    lag.note(0.5)
    for _ in range(19):
        lag.note(-0.001)
    assert lag.quantile(0.5) == 0.001
    assert lag.quantile(1.0) == lag.worst(1.0) == 0.5
    assert lag.worst(0.5) == 0.0


def test_what_is_usual_now_is_told_by_the_last_ticks() -> None:
    lag = LoopLag()
    for _ in range(9):
        lag.note(0.4)
        assert lag.usual == 0.0, "a start"
    for _ in range(100):
        lag.note(0.001)
    for _ in range(9):
        lag.note(0.4)
    assert lag.usual == 0.001, "a pause is not what is usual"
    for _ in range(9):
        lag.note(0.4)
    assert lag.usual == 0.4
    for _ in range(20):
        lag.note(0.002)
    assert lag.usual == 0.002


def test_who_is_pressed_is_so_until_half_a_minute_went_well() -> None:
    lag = LoopLag()
    told = []
    for late, ticks in ((0.04, 20), (0.06, 20), (0.0, 600), (0.0, 20)):
        for _ in range(ticks):
            lag.note(late)
        told.append(lag.pressed)
    assert told == [False, True, True, False], "what is usual takes a while to change"


async def test_what_blocks_the_loop_is_seen() -> None:
    lag = LoopLag()
    task = asyncio.create_task(lag.run())
    await asyncio.sleep(0)
    time.sleep(0.3)  # noqa: ASYNC251 - that is what is to be seen
    await asyncio.sleep(3 * TICK_SECONDS)
    task.cancel()
    assert lag.worst(60) >= 0.2
