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


def shown(stabilizer: Stabilizer) -> str:
    return stabilizer.stable + stabilizer.unstable


@given(
    hypotheses=st.lists(st.tuples(TEXTS, st.booleans(), st.integers(1, 8)), max_size=12),
    final=TEXTS,
)
def test_stable_only_grows_and_the_final_contains_it(
    hypotheses: list[tuple[str, bool, int]], final: str
) -> None:
    stabilizer = Stabilizer()
    for text, whole in [(text, whole) for text, whole, times in hypotheses for _ in range(times)]:
        before, caption = stabilizer.stable, shown(stabilizer)
        changed = stabilizer.update(text, whole=whole)
        assert stabilizer.stable.startswith(before)
        assert changed == (shown(stabilizer) != caption) or stabilizer.stable != before
    assert stabilizer.finish(final).startswith(stabilizer.stable)


@given(text=TEXTS, cuts=st.lists(st.integers(0, 12), max_size=12))
def test_of_a_recogniser_that_never_errs_nothing_is_taken_back(text: str, cuts: list[int]) -> None:
    stabilizer = Stabilizer()
    all_units = units(text)
    caption = ""
    for cut in sorted(cuts):
        heard = "".join(all_units[:cut])
        stabilizer.update(heard)
        assert shown(stabilizer).startswith(caption)
        caption = shown(stabilizer)
        assert heard.startswith(caption)
    stabilizer.update(text, whole=True)
    assert shown(stabilizer) == text
    assert stabilizer.finish(text) == text


def test_a_word_is_shown_once_two_hypotheses_in_a_row_have_it() -> None:
    stabilizer = Stabilizer()
    assert not stabilizer.update("A very good morning every")
    assert stabilizer.update("A very nice morning everybody and")
    assert shown(stabilizer) == "A very"
    stabilizer.update("a very nice morning everybody and welcome")
    assert shown(stabilizer) == "A very nice morning everybody and"


def test_the_last_word_heard_waits_unless_a_pause_follows() -> None:
    stabilizer = Stabilizer()
    for _ in range(3):
        stabilizer.update("I think we can.")
    assert shown(stabilizer) == "I think we"
    stabilizer.update("I think we can.", whole=True)
    assert shown(stabilizer) == "I think we can."


def test_what_is_shown_gives_way_to_many_contradictions_only() -> None:
    stabilizer = Stabilizer()
    for _ in range(2):
        stabilizer.update("what did then the Dow do")
    for _ in range(8):
        stabilizer.update("what ails thee then that thou")
        assert shown(stabilizer) == "what did then the Dow"
    stabilizer.update("what ails thee then that thou")
    assert shown(stabilizer) == "what ails thee then that"


def test_shorter_agreement_contradicts_nothing() -> None:
    stabilizer = Stabilizer()
    for _ in range(2):
        stabilizer.update("one two three four five")
    for _ in range(20):
        stabilizer.update("one two")
    assert shown(stabilizer) == "one two three four"


def test_a_word_is_stable_once_it_was_heard_often_and_is_well_behind() -> None:
    stabilizer = Stabilizer()
    text = "one two three four five six seven eight nine ten"
    for _ in range(5):
        stabilizer.update(text)
    assert stabilizer.stable == ""
    stabilizer.update(text)
    assert stabilizer.stable == "one two three four"
    assert stabilizer.unstable == " five six seven eight nine"


def test_case_and_punctuation_stay_as_first_shown_until_the_final() -> None:
    stabilizer = Stabilizer()
    for text in ("We went home and", "We went home. And then", "We went home, and then slept"):
        stabilizer.update(text)
    assert shown(stabilizer) == "We went home. And then"
    assert stabilizer.finish("We went home, and then slept.") == "We went home, and then slept."


def test_punctuation_behind_the_last_word_is_settled_by_the_next() -> None:
    stabilizer = Stabilizer()
    for _ in range(2):
        stabilizer.update("We went home. And")
    assert shown(stabilizer) == "We went home"
    for _ in range(2):
        stabilizer.update("We went home, and then")
    assert shown(stabilizer) == "We went home, and"


STABLE = "there is a cat on the mat and it sleeps all day long again"


def test_a_hypothesis_that_rewrites_stable_words_changes_only_what_follows() -> None:
    stabilizer = Stabilizer()
    for _ in range(6):
        stabilizer.update(STABLE)
    assert stabilizer.stable == "there is a cat on the mat and"
    assert stabilizer.finish("Their is the cat on the mat and it slept.") == (
        "there is a cat on the mat and it slept."
    )
    assert stabilizer.finish("") == "there is a cat on the mat and"
    assert stabilizer.finish("completely other").startswith(stabilizer.stable)


def test_characters_are_words_where_there_are_no_spaces() -> None:
    stabilizer = Stabilizer()
    for _ in range(6):
        stabilizer.update("こんにちは世界。今日はよ")
    assert stabilizer.stable == "こんにちは"
    assert stabilizer.unstable == "世界。今日は"
    assert stabilizer.finish("こんにちは世界。今日はよ") == "こんにちは世界。今日はよ"


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
    for _ in range(6):
        before.update("we went to the house, and then to the sea and back to town with all of")
    assert before.stable == "we went to the house, and then to the sea and"
    surplus = before.surplus("We went to the house, and then")
    assert surplus == ["to", "the", "sea", "and"]
    after.skip(surplus)
    for _ in range(2):
        after.update("to the sea, and back again to town")
    assert shown(after) == "back again to"
    assert after.finish("to the sea, and back again.") == "back again."
    assert before.surplus("we went to the house, and then to the sea and back again") == []
