from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.corpus import Errors, error_rate, errors
from bench.metrics import (
    Shown,
    Spoken,
    aligned,
    erasure,
    most_words,
    plain,
    quantile,
    shown_after,
    stable_erasure,
)

WORDS = st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), max_size=8)


def final(time: float, segment: int, text: str) -> Shown:
    return Shown(time, segment, text, "", final=True)


def test_erasure_counts_the_words_behind_the_common_prefix() -> None:
    history = [
        Shown(1.0, 0, "", "I scream"),
        Shown(1.5, 0, "I", " scream for"),
        Shown(2.0, 0, "I", " screen four walls"),
        final(2.5, 0, "I screen four walls."),
    ]
    # scream, for; then walls → walls.
    assert erasure(history) == (3, 4)


def test_segments_are_erased_apart() -> None:
    history = [Shown(1.0, 0, "", "one"), Shown(1.0, 1, "", "two"), final(2.0, 0, "one")]
    assert erasure(history) == (0, 2)


def test_growing_text_erases_nothing_and_neither_does_stable_text_that_stays() -> None:
    history = [
        Shown(1.0, 0, "Good", ""),
        Shown(2.0, 0, "Good mor", "ning"),
        final(3.0, 0, "Good morning"),
    ]
    assert stable_erasure(history) == 0


def test_changed_stable_text_is_counted_in_characters() -> None:
    history = [Shown(1.0, 0, "Good morning", ""), final(2.0, 0, "Good evening")]
    assert stable_erasure(history) == len("morning")


def test_unstable_text_may_change() -> None:
    assert stable_erasure([Shown(1.0, 0, "", "Good"), final(2.0, 0, "Bad")]) == 0


def test_words_shown_and_not_kept_are_counted_where_nobody_speaks() -> None:
    history = [Shown(1.0, 0, "", "Thank you."), final(2.0, 0, ""), final(3.0, 1, "you …")]
    assert most_words(history) == (1, 3)


@pytest.mark.parametrize(
    ("word", "expected"), [("Don’t", "dont"), ("ÉTÉ,", "été"), ("…", ""), ("ﬁn", "fin")]
)
def test_words_are_compared_by_letters_and_digits(word: str, expected: str) -> None:
    assert plain(word) == expected


SPOKEN = [
    Spoken("the", 0.5),
    Spoken("cat", 1.0),
    Spoken("saw", 1.5),
    Spoken("the", 2.0),
    Spoken("dog", 2.5),
]


def test_a_word_is_shown_when_it_is_first_on_screen_at_its_place() -> None:
    history = [
        Shown(1.2, 0, "", "The hat"),
        Shown(1.7, 0, "The", " cat saw"),
        Shown(3.0, 0, "The cat saw", " the dog"),
        final(3.4, 0, "The cat saw the dog."),
    ]
    assert shown_after(SPOKEN, history) == pytest.approx([0.7, 0.7, 0.2, 1.0, 0.5])
    assert shown_after(SPOKEN, history, promised=True) == pytest.approx([1.2, 2.0, 1.5, 1.4, 0.9])


def test_words_never_recognised_have_no_delay() -> None:
    assert shown_after(SPOKEN, [final(3.0, 0, "The cat")]) == pytest.approx([2.5, 2.0])
    assert shown_after(SPOKEN, []) == []


def test_a_repeated_word_is_not_found_before_it_was_said() -> None:
    # Two "the" on screen, but only the first was spoken by then.
    history = [Shown(0.6, 0, "", "the the"), final(3.0, 0, "the cat saw the dog")]
    assert shown_after(SPOKEN, history)[3] == pytest.approx(1.0)


def test_segments_follow_each_other() -> None:
    history = [
        Shown(1.1, 0, "", "the cat"),
        Shown(1.9, 1, "", "saw"),
        final(2.0, 0, "the cat"),
        final(2.6, 1, "saw the dog"),
    ]
    assert shown_after(SPOKEN, history) == pytest.approx([0.6, 0.1, 0.4, 0.6, 0.1])


def test_a_final_that_comes_out_of_turn_is_waited_for() -> None:
    history = [Shown(1.1, 0, "", "the cat"), final(2.6, 1, "saw the dog"), final(2.8, 0, "the cat")]
    assert shown_after(SPOKEN, history) == pytest.approx([0.6, 0.1, 1.1, 0.6, 0.1])


@given(WORDS, WORDS)
def test_an_alignment_pairs_equal_words_in_order(reference: list[str], words: list[str]) -> None:
    pairs = aligned(reference, words)
    assert all(reference[i] == words[j] for i, j in pairs)
    assert all(a[0] < b[0] and a[1] < b[1] for a, b in pairwise(pairs))


@given(WORDS)
def test_a_text_aligns_with_itself_completely(words: list[str]) -> None:
    assert len(aligned(words, words)) == len(words)


def test_quantiles_are_by_nearest_rank() -> None:
    values = [4.0, 1.0, 3.0, 2.0]
    assert quantile(values, 0.5) == 2.0
    assert quantile(values, 0.95) == 4.0
    assert quantile(values, 0.0) == 1.0
    assert quantile([], 0.5) is None


def test_errors_are_counted_over_normalised_text() -> None:
    assert errors("Mr. Smith went home", "mister smith goes home now", "en") == Errors(4, 1, 0, 1)
    assert errors("", "anything", "en") == Errors()


def test_pooling_weighs_by_words() -> None:
    assert error_rate(["one two three four", "five"], ["one two three four", "six"], "pt") == 20.0
    assert math.isnan(error_rate([], [], "en"))
