"""Stable text only grows, and the final contains it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.stabilizer import Stabilizer, align, units

WORDS = st.lists(
    st.sampled_from(["the", "The", "cat", "cat,", "cat.", "sat", "on", "a", "mat", "— no", "5%"]),
    max_size=12,
).map(" ".join)
TEXTS = WORDS | st.text(st.sampled_from(" ab.,日本語は。ไทยé'-"), max_size=20).map(str.strip)


@given(TEXTS)
def test_units_join_to_the_text(text: str) -> None:
    assert "".join(units(text)) == text


@given(hypotheses=st.lists(TEXTS, max_size=8), final=TEXTS)
def test_stable_only_grows_and_the_final_contains_it(hypotheses: list[str], final: str) -> None:
    stabilizer = Stabilizer()
    for text in hypotheses:
        before, caption = stabilizer.stable, stabilizer.stable + stabilizer.unstable
        changed = stabilizer.update(text)
        assert stabilizer.stable.startswith(before)
        assert changed == (stabilizer.stable + stabilizer.unstable != caption) or (
            stabilizer.stable != before
        )
    assert stabilizer.finish(final).startswith(stabilizer.stable)


@given(text=TEXTS, cuts=st.lists(st.integers(0, 12), max_size=8))
def test_a_recogniser_that_never_errs_is_shown_word_for_word(text: str, cuts: list[int]) -> None:
    stabilizer = Stabilizer()
    all_units = units(text)
    for cut in sorted(cuts):
        heard = "".join(all_units[:cut])
        stabilizer.update(heard)
        assert stabilizer.stable + stabilizer.unstable == "".join(all_units[:cut][:-1])
        stabilizer.update(heard, whole=True)
        assert stabilizer.stable + stabilizer.unstable == heard
    assert stabilizer.finish(text) == text


def test_agreement_is_what_two_hypotheses_share() -> None:
    stabilizer = Stabilizer()
    stabilizer.update("A very good morning every")
    assert (stabilizer.stable, stabilizer.unstable) == ("", "A very good morning")
    stabilizer.update("A very good morning everybody and")
    assert (stabilizer.stable, stabilizer.unstable) == ("A very good morning", " everybody")
    stabilizer.update("A very good morning, everybody and welcome")
    assert (stabilizer.stable, stabilizer.unstable) == (
        "A very good morning, everybody and",
        "",
    )
    assert stabilizer.finish("A very good morning everybody! And welcome.") == (
        "A very good morning, everybody and welcome."
    )


def test_the_last_word_waits() -> None:
    stabilizer = Stabilizer()
    for _ in range(3):
        stabilizer.update("I think we can")
    assert stabilizer.stable == "I think we"


def test_a_beginning_of_two_words_is_not_yet_trusted() -> None:
    stabilizer = Stabilizer()
    for text in ("montagneux sembl", "montagneux semblerait que", "et il semblerait que tout"):
        stabilizer.update(text)
    assert stabilizer.stable == ""
    assert stabilizer.finish("Et il semblerait que tout.") == "Et il semblerait que tout."


def test_punctuation_behind_the_last_word_is_settled_by_the_next() -> None:
    stabilizer = Stabilizer()
    stabilizer.update("We went home and")
    stabilizer.update("We went home. And then")
    assert stabilizer.stable == "We went home"
    assert stabilizer.unstable == ". And"
    assert stabilizer.finish("We went home, and then slept.") == "We went home, and then slept."


def test_a_hypothesis_that_rewrites_stable_words_changes_only_what_follows() -> None:
    stabilizer = Stabilizer()
    stabilizer.update("there is a cat on the mat")
    stabilizer.update("there is a cat on the mat")
    assert stabilizer.stable == "there is a cat on the"
    assert stabilizer.finish("Their is the cat on the mat today.") == (
        "there is a cat on the mat today."
    )
    assert stabilizer.finish("") == "there is a cat on the"


def test_a_final_that_shares_nothing_is_still_told_apart() -> None:
    stabilizer = Stabilizer()
    for _ in range(2):
        stabilizer.update("one two three four")
    assert stabilizer.stable == "one two three"
    assert stabilizer.finish("completely other").startswith("one two three")


def test_characters_are_words_where_there_are_no_spaces() -> None:
    stabilizer = Stabilizer()
    stabilizer.update("こんにちは世")
    stabilizer.update("こんにちは世界。")
    assert stabilizer.stable == "こんにちは世"
    assert stabilizer.finish("こんにちは世界。") == "こんにちは世界。"


@pytest.mark.parametrize(
    ("committed", "heard", "expected"),
    [
        ("a b c", "a b c d", 3),
        ("a b c", "a x c d", 3),
        ("a b c", "a b", 2),
        ("a b c", "a b b c d", 4),
        ("a b", "x y", 2),
        ("", "x y", 0),
    ],
)
def test_alignment(committed: str, heard: str, expected: int) -> None:
    assert align(committed.split(), heard.split()) == expected


def test_words_shown_beyond_a_cut_are_left_out_of_what_follows() -> None:
    before, after = Stabilizer(), Stabilizer()
    for _ in range(2):
        before.update("we went to the house, and then to the sea and back")
    assert before.stable == "we went to the house, and then to the sea and"
    surplus = before.surplus("We went to the house, and then")
    assert surplus == ["to", "the", "sea", "and"]
    after.skip(surplus)
    after.update("to the sea, and back again")
    assert after.stable + after.unstable == "back"
    assert after.finish("to the sea, and back again.") == "back again."
    assert before.surplus("we went to the house, and then to the sea and back again") == []
