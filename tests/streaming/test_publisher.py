"""Events are numbered once, and what lasts is recorded before anybody may send it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming import wire
from streaming.errors import SlowReader, TakenOver
from streaming.history import Entry, History
from streaming.listeners import Unobserved
from streaming.outbox import MAX_WAITING
from streaming.publisher import Publisher


class Store:
    """Keeps what it is given, unless it is away or another process goes on with the session."""

    interval = 1.0

    def __init__(self) -> None:
        self.kept: dict[int, bytes] = {}
        self.calls: list[list[int]] = []
        self.away = False
        self.taken = False
        self.free = asyncio.Event()
        self.free.set()
        self.busy = asyncio.Event()

    async def record(self, events: Sequence[Entry], first: int) -> bool:
        assert first >= 1
        self.calls.append([seq for seq, _ in events])
        self.busy.set()
        await self.free.wait()
        if self.taken:
            raise TakenOver("gone")
        if not self.away:
            self.kept.update(events)
        return not self.away


class Counted(Unobserved):
    def __init__(self) -> None:
        self.given: list[tuple[int, int]] = []

    def sent(self, event: wire.Event, size: int) -> None:
        assert event.seq is not None
        self.given.append((event.seq, size))


class Desk:
    """A publisher and what it works with."""

    def __init__(self, *, recorded: bool = True, last: int = 0) -> None:
        self.history = History(last=last)
        self.store = Store()
        self.observer = Counted()
        self.publisher = Publisher(
            self.history, self.store if recorded else None, self.observer, lambda: 0.0
        )

    async def publish(self, *events: wire.Event, renew: bool = False, closing: bool = False) -> int:
        """Publish events; returns the number of the last."""
        for event in events:
            self.publisher.put(event)
        await self.publisher.publish(renew=renew, closing=closing)
        return self.history.last


def marker(name: int = 0) -> wire.MarkerEvent:
    return wire.MarkerEvent(marker=name)


def partial(segment: int = 0) -> wire.PartialEvent:
    return wire.PartialEvent(
        segment=segment, start=0, end=1, language="en", stable="", unstable="a"
    )


@given(
    steps=st.lists(
        st.tuples(
            st.lists(st.sampled_from(["lasting", "passing"]), max_size=4),
            st.sampled_from(["", "renew", "closing"]),
            st.booleans(),
        ),
        max_size=12,
    ),
    last=st.integers(0, 5),
)
def test_all_up_to_what_lasts_is_recorded_as_it_is_sent(
    steps: list[tuple[list[str], str, bool]], last: int
) -> None:
    async def run() -> None:
        desk = Desk(last=last)
        segment, unrecorded, owed = 0, 0, False
        for kinds, how, away in steps:
            desk.store.away = away
            events: list[wire.Event] = []
            for kind in kinds:
                segment += 1
                events.append(marker(segment) if kind == "lasting" else partial(segment))
            unrecorded += len(events)
            due = "lasting" in kinds or how == "renew" or (how == "closing" and owed)
            calls = len(desk.store.calls)
            await desk.publish(*events, renew=how == "renew", closing=how == "closing")
            assert len(desk.store.calls) == calls + due
            if due:
                # What was given in vain before is given again.
                newest = desk.history.last
                assert desk.store.calls[-1] == list(range(newest - unrecorded + 1, newest + 1))
                if not away:
                    unrecorded = 0
            owed = unrecorded > 0
        everything = desk.history.after(last)
        assert [seq for seq, _ in everything] == list(range(last + 1, last + segment + 1))
        assert desk.observer.given == [(seq, len(data)) for seq, data in everything]
        recorded = len(everything) - unrecorded
        assert desk.store.kept == dict(everything[:recorded])

    asyncio.run(run())


async def test_what_may_be_replaced_is_not_recorded_by_itself() -> None:
    desk = Desk()
    await desk.publish(partial(0), partial(1))
    assert desk.store.calls == []
    assert desk.history.last == 2
    await desk.publish(closing=True)
    assert desk.store.calls == [[1, 2]]


async def test_without_a_recorder_events_get_their_numbers_and_no_more() -> None:
    desk = Desk(recorded=False, last=7)
    assert await desk.publish(marker(), partial(), renew=True) == 9
    assert [seq for seq, _ in desk.history.after(7)] == [8, 9]
    assert desk.store.calls == []


async def test_who_publishes_second_waits_until_the_first_is_recorded() -> None:
    desk = Desk()
    desk.store.free.clear()
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        group.create_task(desk.publish(marker(1)))
        await desk.store.busy.wait()
        second = group.create_task(desk.publish(marker(2)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not second.done()
        assert desk.store.calls == [[1]]
        desk.store.free.set()
    assert desk.store.calls == [[1], [2]]
    assert sorted(desk.store.kept) == [1, 2]


async def test_that_another_process_goes_on_is_passed_on() -> None:
    desk = Desk()
    desk.store.taken = True
    with pytest.raises(TakenOver):
        await desk.publish(marker())
    assert desk.store.kept == {}


async def test_what_lasts_is_known_while_it_waits() -> None:
    desk = Desk()
    desk.publisher.put(partial())
    seen = [desk.publisher.lasting]
    desk.publisher.put(marker())
    seen.append(desk.publisher.lasting)
    await desk.publish()
    seen.append(desk.publisher.lasting)
    assert seen == [False, True, False]


async def test_too_much_for_a_reader_that_does_not_read_is_forgotten() -> None:
    desk = Desk()
    for number in range(MAX_WAITING):
        desk.publisher.put(marker(number))
    with pytest.raises(SlowReader):
        desk.publisher.put(marker(MAX_WAITING))
    assert await desk.publish() == 0
    assert desk.store.calls == []
