"""What is passed over, and what a stream then knows of itself, without a model."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.voice_gate import STATE, UNUSED, Memory, Request, State, levels_of
from streaming.types import WINDOW, Windows

GATE = 0.001
STATES: list[State] = [np.full((2, STATE), number, np.float32) for number in range(1, 5)]
"""After one, two, three and four windows of silence."""
HEARD: State = np.full((2, STATE), 9, np.float32)


def sound(*levels: float) -> Windows:
    """Windows of these levels (RMS)."""
    wave = np.tile(np.array([1, -1], dtype=np.float32), WINDOW // 2)
    return np.outer(np.array(levels, dtype=np.float32), wave)


def memory(*, heard: float | None = None) -> Memory:
    """That of a new stream, or of one whose model found a window of this level to be no speech."""
    made = Memory(STATES, GATE)
    if heard is not None:
        loop = asyncio.new_event_loop()
        windows = sound(heard)
        request = Request(
            made, windows, levels_of(windows), loop.create_future(), np.zeros(1, np.float32)
        )
        made.state = HEARD
        request.take(0.0)
        loop.close()
    return made


def passed(by: Memory, *levels: float) -> int:
    windows = sound(*levels)
    return by.pass_over(windows, levels_of(windows))


@pytest.mark.parametrize("count", range(1, 8))
def test_silence_from_the_start_leaves_the_state_of_as_much_silence(count: int) -> None:
    stream = memory()
    assert passed(stream, *[0.0] * count, 0.1) == count
    assert stream.state is STATES[min(count, 4) - 1]


@pytest.mark.parametrize(("count", "state"), [(1, HEARD), (3, HEARD), (4, STATES[3])])
def test_silence_after_sound_changes_the_state_when_it_is_long(count: int, state: State) -> None:
    stream = memory(heard=0.1)
    assert passed(stream, *[0.0] * count) == count
    assert stream.state is state


@pytest.mark.parametrize(("heard", "state"), [(None, UNUSED), (0.0012, HEARD)])
def test_a_quiet_room_is_not_silence(heard: float | None, state: State) -> None:
    stream = memory(heard=heard)
    assert passed(stream, *[0.0012] * 5) == 5
    assert stream.state is state


@given(st.lists(st.floats(0, 1), min_size=1, max_size=100))
def test_the_background_is_between_silence_and_the_loudest_sound(levels: list[float]) -> None:
    stream = memory()
    for level in levels:
        stream.learn(level)
        assert GATE <= stream.floor <= max(GATE, *levels)


def test_the_first_sound_is_not_the_background() -> None:
    """It may be speech: what is as loud is listened to until it has lasted."""
    stream = memory(heard=0.1)
    assert passed(stream, 0.1) == 0
    for _ in range(40):
        stream.learn(0.1)
    assert passed(stream, 0.1) == 1


@pytest.mark.parametrize(
    ("level", "before", "passed_over"),
    [
        (0.0011, 200, 63),
        (0.0011, 100, 15),
        (0.0016, 200, 15),
    ],
    ids=["a quiet room", "not for long", "not quiet"],
)
def test_a_quiet_room_is_listened_to_every_two_seconds(
    level: float, before: int, passed_over: int
) -> None:
    stream = memory(heard=level)
    for _ in range(before):
        stream.learn(level)
    assert passed(stream, *[level] * 100) == passed_over


def test_a_room_in_which_something_may_have_been_said_is_not_quiet() -> None:
    stream = memory(heard=0.0011)
    for _ in range(200):
        stream.learn(0.0011)
    stream.learn(0.0014)
    assert passed(stream, *[0.0011] * 100) == 15


async def test_a_room_in_which_somebody_spoke_is_not_known_any_more() -> None:
    """Not even when they were no louder than the room."""
    stream = memory(heard=0.0011)
    for _ in range(200):
        stream.learn(0.0011)
    windows = sound(0.0011, 0.0011)
    future = asyncio.get_running_loop().create_future()
    request = Request(stream, windows, levels_of(windows), future, np.zeros(2, np.float32))
    request.take(0.9)
    request.take(0.0)
    assert passed(stream, *[0.0011] * 100) == 15


@pytest.mark.parametrize(("windows", "urgent"), [(1, False), (31, False), (65, True)])
async def test_background_waits_for_that_of_others_unless_it_is_of_a_file(
    windows: int, urgent: bool
) -> None:
    stream = memory(heard=0.0016)
    for _ in range(100):
        stream.learn(0.0016)
    sounds = sound(*[0.0016] * windows)
    future = asyncio.get_running_loop().create_future()
    answers = np.zeros(windows, np.float32)
    assert Request(stream, sounds, levels_of(sounds), future, answers).urgent is urgent
    louder = sound(0.01)
    assert Request(stream, louder, levels_of(louder), future, answers[:1]).urgent


@given(st.floats(0.001, 0.5), st.floats(-0.5, 0.5))
def test_an_offset_is_no_sound(level: float, offset: float) -> None:
    (found,) = levels_of(sound(level) + np.float32(offset))
    assert found == pytest.approx(level, rel=0.02, abs=2e-4)
