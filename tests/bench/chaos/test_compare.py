from __future__ import annotations

import pytest

from bench.chaos.compare import Difference, Span, by_utterance, compare, difference, doubled
from bench.chaos.record import Heard

SPANS = (Span(0.0, 4.0), Span(4.0, 8.0))
TEXT = "the quick brown fox jumps over the lazy dog"


def heard(start: float, end: float, text: str) -> Heard:
    return Heard(start, end, text, at=end + 1)


@pytest.mark.parametrize(
    ("text", "lost", "added", "changed"),
    [
        (TEXT, 0, 0, 0),
        (TEXT.upper() + ".", 0, 0, 0),
        ("the quick brown fox jumps", 4, 0, 0),
        ("", 9, 0, 0),
        (f"{TEXT} {TEXT}", 0, 9, 0),
        ("the quick brown socks jumps over the lazy dog", 0, 0, 1),
        ("the quick brown fox jumps over the the lazy dog", 0, 1, 0),
        ("the quick brownish red fox jumps over the dog", 1, 0, 2),
    ],
)
def test_lost_added_and_changed_words(text: str, lost: int, added: int, changed: int) -> None:
    assert difference(TEXT, text) == Difference(9, lost, added, changed)


def test_where_nothing_was_said_everything_is_added() -> None:
    assert difference("", "thank you") == Difference(0, 0, 2, 0)


@pytest.mark.parametrize(
    ("found", "alike"),
    [
        (Difference(9, 0, 0, 1), True),
        (Difference(9, 2, 0, 0), False),
        (Difference(3, 1, 0, 0), True),
        (Difference(2, 2, 0, 0), False),
        (Difference(40, 2, 2, 2), True),
        (Difference(0, 0, 1, 0), True),
        (Difference(0, 0, 2, 0), False),
    ],
)
def test_a_word_in_seven_may_differ(found: Difference, alike: bool) -> None:
    assert found.alike is alike


def test_finals_belong_to_the_utterance_their_middle_is_in() -> None:
    finals = [heard(3.7, 7.0, "two"), heard(0.2, 3.9, "one"), heard(8.1, 9.0, "more")]
    assert by_utterance(finals, SPANS) == ["one", "two more"]


def test_the_nearest_undisturbed_run_counts() -> None:
    runs = [[heard(0, 3, "we can not")], [heard(0, 3, "we cannot"), heard(4, 7, "see")]]
    found = compare(runs, [heard(0, 3, "we cannot"), heard(4, 7, "see")], SPANS)
    assert found == [Difference(2), Difference(1)]


def test_two_finals_of_the_same_audio_are_one_too_many() -> None:
    once = [heard(0.0, 3.0, "one"), heard(2.7, 5.0, "two")]
    assert doubled(once) == []
    again = heard(0.1, 2.9, "one")
    assert doubled([*once, again]) == [(once[0], again)]
