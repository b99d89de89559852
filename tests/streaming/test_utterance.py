"""An utterance keeps the audio it was given, and what was handed out of it never changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.types import WINDOW, Audio
from streaming.utterance import Utterance

LEVELS = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=200)


def said(levels: list[float], start: int = 10 * WINDOW) -> Utterance:
    """An utterance of windows of these levels (RMS)."""
    utterance = Utterance(0, start, start)
    for level in levels:
        utterance.append(window(level))
    return utterance


def window(level: float) -> Audio:
    return np.tile(np.array([level, -level], dtype=np.float32), WINDOW // 2)


def test_audio_can_be_had_up_to_any_sample_of_the_stream() -> None:
    utterance = said([0.1, 0.2, 0.3])
    assert utterance.end == 13 * WINDOW
    assert np.array_equal(utterance.audio(12 * WINDOW), np.append(window(0.1), window(0.2)))
    assert utterance.audio(99 * WINDOW).size == 3 * WINDOW
    assert np.array_equal(utterance.windows_after(12 * WINDOW), [window(0.3)])


@given(LEVELS, LEVELS)
def test_what_was_handed_out_stays_as_it_was(before: list[float], after: list[float]) -> None:
    utterance = said(before)
    view = utterance.audio()
    copy = view.copy()
    for level in after:
        utterance.append(window(level))
    assert np.array_equal(view, copy)
    assert np.array_equal(utterance.audio()[::WINDOW], np.array(before + after, dtype=np.float32))


@given(st.lists(st.booleans(), min_size=1, max_size=50))
def test_level_is_that_of_windows_with_speech(speech: list[bool]) -> None:
    utterance = Utterance(0, 0, 0)
    for spoken in speech:
        utterance.append(window(0.5 if spoken else 0.01))
        if spoken:
            utterance.note_speech()
    expected = 0.25 * WINDOW if any(speech) else 0.0
    assert np.isclose(utterance.level, expected)
    last = max((at for at, spoken in enumerate(speech, 1) if spoken), default=0)
    assert utterance.speech_end == last * WINDOW


def test_an_offset_is_no_sound() -> None:
    utterance = said([0.1])
    energy = utterance.energy
    utterance.append(window(0.1) + np.float32(0.5))
    assert utterance.energy == pytest.approx(energy, rel=1e-3)


def test_what_is_known_of_speech_goes_on_after_a_cut() -> None:
    first = said([0.5, 0.5])
    first.note_speech()
    rest = Utterance(1, first.end, first.end)
    rest.continue_from(first.end, first.known)
    assert (rest.level, rest.speech_end) == (first.level, first.speech_end)
    assert rest.cut_from == (first.end, first.known)


@given(st.integers(8, 60), st.data())
def test_the_quietest_place_is_found_where_it_may_be_looked_for(
    search: int, data: st.DataObject
) -> None:
    count = search + data.draw(st.integers(8, 40))
    quiet = data.draw(st.integers(count - search + 3, count - 3))
    levels = [1.0] * count
    levels[quiet - 2 : quiet + 3] = [0.1] * 5
    utterance = said(levels, start=0)
    at, energy = utterance.quietest(search * WINDOW)
    assert abs(at - (quiet + 0.5) * WINDOW) <= WINDOW / 2
    assert np.isclose(energy, 0.01 * WINDOW, rtol=1e-4)
