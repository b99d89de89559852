from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sentences import MAX_SECONDS, from_text, from_words, halved, joined, shifted, split_text
from streaming.types import Word


def words(text: str, each: float = 0.4) -> tuple[Word, ...]:
    return tuple(
        Word(f" {word}" if number else word, number * each, number * each + each, 0.9)
        for number, word in enumerate(text.split())
    )


def test_words_are_grouped_by_sentence_and_abbreviations_are_none() -> None:
    segments = from_words(words("Mr. Smith went home. He slept! Did he?"), "en", 0.8)
    assert [one.text for one in segments] == ["Mr. Smith went home.", "He slept!", "Did he?"]
    assert segments[1].start == 4 * 0.4
    assert segments[1].end == pytest.approx(2.4)
    assert segments[0].confidence == 0.8
    assert joined(segments[2].words) == "Did he?"


def test_a_long_pause_separates_what_grammar_does_not() -> None:
    before, after = words("one two"), shifted(words("three four"), 10.0)
    late = tuple(Word(f" {word.text.strip()}", word.start, word.end, 1) for word in after)
    assert [one.text for one in from_words(before + late, "en", 1)] == ["one two", "three four"]


def test_speech_without_punctuation_is_cut() -> None:
    segments = from_words(words("word " * 200), "en", 1)
    assert len(segments) > 4
    assert all(one.end - one.start <= MAX_SECONDS + 1e-6 for one in segments)
    assert " ".join(one.text for one in segments) == ("word " * 200).strip()


def test_a_cut_prefers_a_comma() -> None:
    first, second = halved(words("a b c d e, f g h i j k"), 3.0, 100)
    assert joined(first) == "a b c d e,"
    assert joined(second) == "f g h i j k"


def test_text_without_times_shares_them_out() -> None:
    segments = from_text("One. Two.", "en", 10.0, 12.0, 0.5)
    assert [one.text for one in segments] == ["One.", "Two."]
    assert segments[0].start == 10.0
    assert segments[-1].end == 12.0


def test_times_are_put_in_order() -> None:
    crooked = (Word("a", 1.0, 0.5, 1), Word("b", 0.2, 3.0, 1))
    placed = shifted(crooked, 5.0)
    assert [(word.start, word.end) for word in placed] == [(6.0, 6.0), (6.0, 8.0)]


@given(st.text(max_size=200), st.sampled_from(["en", "pt", "ja", "xx", ""]))
def test_no_character_is_lost(text: str, language: str) -> None:
    assert "".join(split_text(text, language)) == text


@given(
    st.lists(st.text(st.characters(categories=["L", "P"]), min_size=1, max_size=12), max_size=80)
)
def test_no_word_is_lost(texts: list[str]) -> None:
    spoken = words(" ".join(texts))
    segments = from_words(spoken, "en", 1) if spoken else []
    assert [word for one in segments for word in one.words] == list(spoken)
