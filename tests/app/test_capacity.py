"""Who is taken, and who is told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from app.capacity import Capacity, has_room
from app.sessions import LiveSession, SessionRegistry
from guards.principal import Principal, Tier
from streaming.errors import Overloaded
from streaming.types import WINDOW, Pressure
from tests.app.support import rest, running, services


def admitted(each: float, workers: int, final_seconds: float = 0.2) -> int:
    """How many speakers are taken who cost so much each, one after the other."""
    count = 0
    while count < 1000:
        strain = min(1.0, count * each / workers)
        pressure = Pressure(
            strain=strain, speakers=count, workers=workers, final_seconds=final_seconds
        )
        if not has_room(pressure, new=0):
            return count
        count += 1
    return count


def test_as_many_are_taken_as_the_workers_bear() -> None:
    assert 14 <= admitted(each=0.05, workers=2) <= 16
    assert 7 <= admitted(each=0.05, workers=1) <= 8
    assert admitted(each=0.05, workers=16) >= 15 * 16, "many workers are used better than few"
    assert admitted(each=0.1, workers=2) < admitted(each=0.05, workers=2)
    assert admitted(each=0.0075, workers=2, final_seconds=0.03) >= 190, "and quick ones than slow"


def test_an_operator_may_have_it_fuller_or_less_full() -> None:
    pressure = Pressure(strain=0.5, speakers=14, workers=2)
    assert not has_room(pressure, new=0)
    assert has_room(pressure, new=0, full=1.0)
    assert not has_room(replace(pressure, strain=0.2), new=0, full=0.1)


def test_silent_sessions_take_no_place() -> None:
    assert has_room(Pressure(strain=0.1, speakers=5, workers=2), new=50)
    assert not has_room(Pressure(strain=0.1, speakers=5, workers=2), new=2000), "a rush"


@given(strain=st.floats(0, 1), speakers=st.integers(0, 100), new=st.integers(0, 1000))
def test_nobody_is_taken_while_finals_are_late(strain: float, speakers: int, new: int) -> None:
    pressure = Pressure(strain=strain, wait=1.5, speakers=speakers, workers=2)
    assert not has_room(pressure, new)


def test_those_who_have_only_begun_to_speak_count() -> None:
    pressure = Pressure(strain=0.2, speakers=8, workers=2)
    assert has_room(pressure, new=0)
    assert not has_room(replace(pressure, starting=8), new=0)


def test_what_a_speaker_costs_is_known_before_the_first() -> None:
    """By what a final was measured to take: a rush is stopped before its strain is felt."""
    usual = Pressure(starting=8, workers=2)
    assert has_room(usual, new=0)
    assert not has_room(replace(usual, final_seconds=0.5), new=0), "a slow machine"
    assert has_room(replace(usual, final_seconds=0.03, starting=60), new=0), "a GPU"


def test_those_who_have_gone_take_no_place() -> None:
    pressure = Pressure(strain=0.8, speakers=30, workers=2)
    assert not has_room(pressure, new=0, live=30)
    assert has_room(pressure, new=0, live=4)
    assert has_room(pressure, new=0, live=0)


def test_some_places_are_kept_for_those_who_have_few() -> None:
    pressure = Pressure(strain=0.4, speakers=14, workers=2)
    assert not has_room(pressure, new=0)
    assert has_room(pressure, new=0, modest=True)
    assert not has_room(replace(pressure, strain=0.7), new=0, modest=True)


async def test_who_floods_the_server_keeps_nobody_else_out() -> None:
    sessions = SessionRegistry()
    capacity = Capacity(lambda: Pressure(strain=0.5, speakers=12, workers=2), sessions)
    for number in range(12):
        sessions.add(live(f"flood-{number}", "flood"))
    with pytest.raises(Overloaded):
        await capacity.admit("flood", share=1)
    for number in range(5):
        await capacity.admit("ana", share=1)
        sessions.add(live(f"ana-{number}", "ana"))
    for number in range(6):
        sessions.add(live(f"more-{number}", "ana"))
    with pytest.raises(Overloaded):
        await capacity.admit("ana", share=1)


async def test_the_settings_say_how_full() -> None:
    sessions = SessionRegistry()
    for number in range(12):
        sessions.add(live(str(number), "user"))
    busy = Pressure(strain=0.5, speakers=12, workers=2)
    usual, fuller = Capacity(lambda: busy, sessions), Capacity(lambda: busy, sessions, 0.9)
    assert not usual.room
    assert fuller.room
    assert usual.limit < busy.strain < fuller.limit == 0.9


async def test_nobody_is_taken_while_the_event_loop_does_not_keep_up() -> None:
    usual = Capacity(Pressure, SessionRegistry(), late=lambda: 0.05)
    await usual.admit("ana", share=1)
    late = Capacity(Pressure, SessionRegistry(), late=lambda: 0.15)
    assert not late.room
    with pytest.raises(Overloaded):
        await late.admit("ana", share=1)
    assert late.refused == 1


async def test_a_server_says_how_late_its_event_loop_is(tmp_path: Path) -> None:
    async with services(tmp_path) as fakes:
        before = fakes.services.capacity.room
        for _ in range(20):
            fakes.services.lag.note(1.0)
        assert (before, fakes.services.capacity.room) == (True, False)


async def test_a_server_whose_loop_is_late_keeps_back_what_the_silent_send(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path) as (address, fakes, _),
        connect(
            f"ws://{address}/v1/stream", additional_headers={"Authorization": f"Bearer {fakes.key}"}
        ) as socket,
    ):
        second = bytes(2 * 32 * WINDOW)
        await socket.send('{"type": "start"}')
        await socket.recv()
        (session,) = fakes.services.sessions
        await socket.send(second)
        while session.progress().audio_seconds < 1:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)
        for _ in range(20):
            fakes.services.lag.note(0.06)
        await socket.send(second)
        await socket.send(second)
        await (await socket.ping())
        await asyncio.sleep(0.05)
        assert session.progress().audio_seconds == 1.02
        await socket.send('{"type": "stop"}')
        done = (await rest(socket))[-1]
        assert done["audio_seconds"] == 3.072


def live(name: str, user_id: str, *, minutes: int = 1) -> LiveSession:
    return LiveSession(
        name,
        Principal("key", user_id, Tier.FREE, frozenset()),
        lambda _: None,
        started_at=datetime.now(UTC) - timedelta(minutes=minutes),
    )


def make(pressure: Callable[[], Pressure]) -> Capacity:
    """With twenty who are there."""
    sessions = SessionRegistry()
    for number in range(20):
        sessions.add(live(f"other-{number}", "other"))
    return Capacity(pressure, sessions)


async def test_a_small_share_is_refused_at_once_and_told_when_to_come_back() -> None:
    capacity = make(lambda: Pressure(strain=1.0, speakers=20, workers=2))
    with pytest.raises(Overloaded) as refused:
        await asyncio.wait_for(capacity.admit("ana", share=1), 0.1)
    assert refused.value.status == 503
    assert refused.value.retry_after == 5
    assert capacity.refused == 1
    assert not capacity.room


async def test_a_large_share_waits_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.capacity._STEP", 0.001)
    asked = 0

    def pressure() -> Pressure:
        nonlocal asked
        asked += 1
        return Pressure(strain=1.0 if asked < 4 else 0.3, speakers=20, workers=2)

    await make(pressure).admit("ana", share=4)
    assert asked == 4


async def test_those_who_have_just_begun_are_counted() -> None:
    sessions = SessionRegistry()
    with sessions.running(live("a", "user", minutes=0)):
        assert sessions.begun_within(10) == 1
        assert sessions.begun_within(-1) == 0
    assert sessions.begun_within(10) == 0
