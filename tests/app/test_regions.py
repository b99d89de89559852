from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from app.regions import MAX_SECONDS, Span, pieces, speech_regions
from streaming.types import SAMPLE_RATE, WINDOW, Probabilities


def probabilities(*runs: tuple[float, float]) -> Probabilities:
    """Runs of (probability, seconds)."""
    counts = [(level, round(length * SAMPLE_RATE / WINDOW)) for level, length in runs]
    return np.concatenate([np.full(count, level, np.float32) for level, count in counts])


def test_a_pause_inside_a_word_does_not_end_a_region_and_a_click_is_none() -> None:
    found = probabilities((0, 1), (0.9, 1), (0.1, 0.2), (0.9, 1), (0, 1), (0.9, 0.05), (0, 1))
    regions = speech_regions(found)
    assert len(regions) == 1
    assert regions[0] == (31, 31 + 31 + 6 + 31)


def test_near_neighbours_share_a_piece_and_far_ones_do_not() -> None:
    near = probabilities((0, 1), (0.9, 2), (0, 1), (0.9, 2), (0, 1))
    assert len(pieces(near, len(near) * WINDOW)) == 1
    far = probabilities((0, 1), (0.9, 2), (0, 3), (0.9, 2), (0, 1))
    assert len(pieces(far, len(far) * WINDOW)) == 2


def test_a_long_monologue_is_cut_where_it_is_quietest() -> None:
    found = probabilities((0.95, 18), (0.5, 0.3), (0.95, 20))
    first, second = pieces(found, len(found) * WINDOW)
    assert first.end == second.start
    assert abs(first.seconds - 18.15) < 0.2


def test_silence_has_no_pieces() -> None:
    assert pieces(probabilities((0.01, 60)), 60 * SAMPLE_RATE) == []
    assert pieces(np.zeros(0, np.float32), 0) == []


@given(arrays(np.float32, st.integers(0, 3000), elements=st.floats(0, 1, width=32)))
def test_pieces_fit_follow_each_other_and_cover_all_speech(found: Probabilities) -> None:
    samples = max(0, len(found) * WINDOW - 100)
    spans = pieces(found, samples)
    last = 0
    for span in spans:
        assert last <= span.start < span.end <= samples
        assert span.seconds <= MAX_SECONDS + 1e-6
        last = span.end
    covered = [(span.start, span.end) for span in spans]
    for start, end in speech_regions(found):
        middle = min((start + end) // 2 * WINDOW, samples - 1)
        assert any(low <= middle < high for low, high in covered)
    assert all(isinstance(span, Span) for span in spans)
