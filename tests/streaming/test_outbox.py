"""A reader that falls behind is spared what was overtaken, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming import wire
from streaming.errors import SlowReader
from streaming.outbox import Outbox


def partial(segment: int, text: str) -> wire.PartialEvent:
    return wire.PartialEvent(
        segment=segment, start=0, end=1, language="en", stable="", unstable=text
    )


def final(segment: int) -> wire.FinalEvent:
    return wire.FinalEvent(segment=segment, start=0, end=1, language="en", text="", confidence=1)


def translation(segment: int, target: str, *, last: bool) -> wire.TranslationEvent:
    return wire.TranslationEvent(segment=segment, target=target, text="", final=last)


EVENTS = st.one_of(
    st.builds(partial, st.integers(0, 2), st.text(max_size=3)),
    st.builds(final, st.integers(0, 2)),
    st.builds(translation, st.integers(0, 2), st.sampled_from(["pt", "de"]), last=st.booleans()),
    st.builds(lambda n: wire.MarkerEvent(marker=n), st.integers()),
)


@given(st.lists(EVENTS | st.none(), max_size=60))
def test_numbers_have_no_gap_and_finals_all_arrive_in_order(
    events: list[wire.Event | None],
) -> None:
    outbox, sent = Outbox(), []
    for event in events:
        if event is not None:
            outbox.put(event)
        elif (taken := outbox.take()) is not None:
            sent.append(taken)
    while (taken := outbox.take()) is not None:
        sent.append(taken)
    assert [event.seq for event in sent] == list(range(1, len(sent) + 1))

    def lasting(some: list[wire.Event | None] | list[wire.Event]) -> list[int]:
        return [
            id(event)
            for event in some
            if isinstance(event, wire.FinalEvent | wire.MarkerEvent)
            or (isinstance(event, wire.TranslationEvent) and event.final)
        ]

    assert lasting(sent) == lasting(events)
    assert len(sent) + outbox.coalesced == sum(event is not None for event in events)


def test_only_the_newest_partial_of_a_segment_waits() -> None:
    outbox = Outbox()
    outbox.put(partial(0, "a"))
    outbox.put(partial(1, "x"))
    outbox.put(partial(0, "b"))
    assert len(outbox) == 2
    assert outbox.coalesced == 1
    assert outbox.take() == partial(1, "x").__class__(
        seq=1, segment=1, start=0, end=1, language="en", stable="", unstable="x"
    )


def test_a_final_overtakes_its_partial() -> None:
    outbox = Outbox()
    outbox.put(partial(0, "a"))
    outbox.put(partial(1, "b"))
    outbox.put(final(0))
    kinds = [type(outbox.take()), type(outbox.take())]
    assert kinds == [wire.PartialEvent, wire.FinalEvent]
    assert outbox.take() is None


def test_a_reader_that_never_reads_is_bounded() -> None:
    outbox = Outbox(limit=3)
    for segment in range(3):
        outbox.put(final(segment))
    with pytest.raises(SlowReader):
        outbox.put(final(3))
