"""Utterances are found where speech is, whatever the calls look like."""

from __future__ import annotations

import weakref
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.segmenter import (
    WINDOW_MS,
    Closed,
    Opened,
    Paused,
    Resumed,
    Segmenter,
    SegmenterConfig,
    SegmenterEvent,
)
from streaming.types import WINDOW, Audio, Probabilities, Windows


def stream(*parts: tuple[int, float]) -> tuple[Windows, Probabilities]:
    """Windows with their own number as every sample, and probabilities by (count, value)."""
    probabilities = np.concatenate([np.full(n, p, dtype=np.float32) for n, p in parts])
    numbers = np.arange(1, probabilities.size + 1, dtype=np.float32)
    return np.repeat(numbers, WINDOW).reshape(-1, WINDOW), probabilities


def loud() -> Audio:
    """A window of sound, and not of an offset."""
    return np.tile(np.array([1, -1], dtype=np.float32), WINDOW // 2)


OFFSETS = pytest.mark.parametrize("offset", [0.0, 0.5])
"""What cheap sound cards add to all samples."""


def closed(events: list[SegmenterEvent]) -> list[Closed]:
    return [event for event in events if isinstance(event, Closed)]


def run(segmenter: Segmenter, *parts: tuple[int, float]) -> list[SegmenterEvent]:
    return segmenter.push(*stream(*parts))


def test_one_utterance_with_pre_roll_and_tail() -> None:
    events = run(Segmenter(), (30, 0.01), (40, 0.9), (30, 0.01))
    assert [type(event) for event in events] == [Opened, Paused, Closed]
    (end,) = closed(events)
    assert end.utterance.onset == 30 * WINDOW
    assert end.utterance.start == 20 * WINDOW
    assert end.utterance.speech_end == 70 * WINDOW
    assert end.end == 76 * WINDOW
    audio = end.utterance.audio(end.end)
    assert audio.size == 56 * WINDOW
    assert audio[0] == 21
    assert audio[-1] == 76


def test_pause_has_the_audio_of_the_end() -> None:
    events = run(Segmenter(), (40, 0.9), (30, 0.01))
    pause = next(event for event in events if isinstance(event, Paused))
    assert pause.end == closed(events)[0].end


def test_speech_after_a_pause_resumes_the_same_utterance() -> None:
    events = run(Segmenter(), (20, 0.9), (10, 0.01), (20, 0.9), (30, 0.01))
    assert [type(event) for event in events] == [Opened, Paused, Resumed, Paused, Closed]
    assert len({event.utterance.segment for event in events}) == 1


def test_hysteresis_keeps_unsure_windows_but_does_not_begin_with_them() -> None:
    assert run(Segmenter(), (200, 0.45)) == []
    events = run(Segmenter(), (10, 0.9), (50, 0.4), (30, 0.01))
    assert closed(events)[0].utterance.speech_end == 60 * WINDOW


def test_a_click_is_not_speech_but_stays_in_the_pre_roll() -> None:
    segmenter = Segmenter()
    assert run(segmenter, (10, 0.0), (2, 0.9), (3, 0.0)) == []
    events = run(segmenter, (5, 0.9), (30, 0.0))
    assert closed(events)[0].utterance.onset == 15 * WINDOW
    assert closed(events)[0].utterance.start == 5 * WINDOW


def test_end_of_stream_keeps_the_shortest_word() -> None:
    segmenter = Segmenter()
    assert run(segmenter, (10, 0.0), (2, 0.9)) == []
    events = segmenter.close()
    assert [type(event) for event in events] == [Opened, Closed]
    assert closed(events)[0].end == 12 * WINDOW
    assert segmenter.close() == []


def test_close_in_the_middle_of_speech_splits_without_overlap() -> None:
    segmenter = Segmenter()
    run(segmenter, (20, 0.9))
    first = closed(segmenter.close())[0]
    later = closed([*run(segmenter, (20, 0.9), (30, 0.0)), *segmenter.close()])[0]
    assert first.end == 20 * WINDOW
    assert later.utterance.start == 20 * WINDOW
    assert (first.utterance.segment, later.utterance.segment) == (0, 1)


@OFFSETS
def test_a_long_utterance_is_cut_where_it_is_quietest(offset: float) -> None:
    config = SegmenterConfig(max_ms=100 * WINDOW_MS, cut_search_ms=60 * WINDOW_MS)
    windows, probabilities = stream((150, 0.9), (30, 0.0))
    windows[:] = loud()
    windows[68:73] *= 0.01
    windows += offset
    events = Segmenter(config).push(windows, probabilities)
    first, second = closed(events)
    assert first.cut
    assert first.end == 70 * WINDOW
    assert second.utterance.start == first.end
    assert second.utterance.speech_end == 150 * WINDOW
    assert isinstance(events[events.index(first) + 1], Opened)


@OFFSETS
def test_a_long_utterance_is_cut_at_a_pause_before_it_is_too_long(offset: float) -> None:
    config = SegmenterConfig(
        long_ms=60 * WINDOW_MS, max_ms=100 * WINDOW_MS, cut_search_ms=40 * WINDOW_MS
    )
    windows, probabilities = stream((95, 0.9), (30, 0.0))
    windows[:] = loud()
    windows[[*range(28, 33), *range(68, 73)]] *= 0.01
    windows += offset
    segmenter = Segmenter(config)
    # At 60 windows there is a pause behind, from 30 on; later there is one at 70.
    assert [e.end // WINDOW for e in closed(segmenter.push(windows[:60], probabilities[:60]))] == [
        30
    ]
    assert closed(segmenter.push(windows[60:89], probabilities[60:89])) == []
    (second,) = closed(segmenter.push(windows[89:95], probabilities[89:95]))
    assert (second.cut, second.end) == (True, 70 * WINDOW)


def test_a_shorter_endpoint_shortens_the_tail_too() -> None:
    segmenter = Segmenter()
    segmenter.set_endpoint(100)
    events = run(segmenter, (20, 0.9), (4, 0.0))
    assert closed(events)[0].end == 24 * WINDOW


@given(
    values=st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from([0.0, 0.2, 0.4, 0.6, 0.95])),
        min_size=1,
        max_size=20,
    ),
    cuts=st.lists(st.integers(0, 800), max_size=10),
    endpoint=st.sampled_from([100, 300, 500, 1000]),
)
def test_utterances_depend_on_the_windows_alone_and_never_overlap(
    values: list[tuple[int, float]], cuts: list[int], endpoint: int
) -> None:
    config = SegmenterConfig(
        endpoint_ms=endpoint,
        long_ms=40 * WINDOW_MS,
        max_ms=60 * WINDOW_MS,
        cut_search_ms=20 * WINDOW_MS,
    )
    windows, probabilities = stream(*values)
    edges = [0, *sorted(cut % (len(windows) + 1) for cut in cuts), len(windows)]

    whole = Segmenter(config)
    expected = closed([*whole.push(windows, probabilities), *whole.close()])
    parts = Segmenter(config)
    found: list[SegmenterEvent] = []
    for a, b in pairwise(edges):
        found += parts.push(windows[a:b], probabilities[a:b])
    found += parts.close()

    def summary(events: list[Closed]) -> list[tuple[int, int, int, bool]]:
        return [(e.utterance.segment, e.utterance.start, e.end, e.cut) for e in events]

    assert summary(closed(found)) == summary(expected)
    for before, after in pairwise(expected):
        assert before.end <= after.utterance.start
        assert after.utterance.segment == before.utterance.segment + 1
    for event in expected:
        audio = event.utterance.audio(event.end)
        assert audio.size == event.end - event.utterance.start
        assert np.array_equal(audio, windows.ravel()[event.utterance.start : event.end])
    # Nothing loud and long enough is missed.
    inside = np.zeros(len(windows), dtype=bool)
    for event in expected:
        inside[event.utterance.start // WINDOW : event.end // WINDOW] = True
    position = 0
    for count, probability in values:
        if probability >= 0.5 and count >= 3:
            assert inside[position : position + count].all()
        position += count


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from([0.01, 0.2, 0.45, 0.6, 0.9])), min_size=1
    ),
    st.lists(st.integers(1, 30), min_size=1),
)
def test_passing_over_what_is_quiet_changes_nothing(
    parts: list[tuple[int, float]], sizes: list[int]
) -> None:
    windows, probabilities = stream(*parts)
    told: list[list[tuple[object, ...]]] = []
    for passing in (False, True):
        segmenter = Segmenter()
        events: list[SegmenterEvent] = []
        at = 0
        for turn in range(len(windows)):
            piece = slice(at, at + sizes[turn % len(sizes)])
            at = piece.stop
            if not len(windows[piece]):
                break
            block = windows[piece], probabilities[piece]
            if not (passing and segmenter.pass_over(block[0], float(block[1].max()))):
                events += segmenter.push(*block)
        events += segmenter.close()
        assert segmenter.position == windows.size
        told.append(
            [
                (
                    type(event),
                    event.utterance.segment,
                    event.utterance.start,
                    event.utterance.audio().tobytes(),
                )
                for event in events
            ]
        )
    assert told[0] == told[1]


def test_of_long_silence_only_what_may_be_needed_is_kept() -> None:
    segmenter = Segmenter()
    silence = np.zeros((1000, WINDOW), dtype=np.float32)
    seen = weakref.ref(silence)
    assert segmenter.pass_over(silence)
    del silence
    assert seen() is None
