from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inference.sentences import sentences
from streaming.sentences import SourceSentence, SourceText

TEXTS = st.text(st.sampled_from("ab .?!,\n你。"), max_size=40)


def texts(found: list[SourceSentence]) -> list[str]:
    return [sentence.text for sentence in found]


def joined(found: list[SourceSentence]) -> str:
    return "".join(sentence.gap + sentence.text for sentence in found)


def test_a_sentence_is_complete_when_more_follows() -> None:
    source = SourceText(sentences)
    source.follow("Hello there.", "en")
    assert (source.complete, texts(source.sentences)) == ([], ["Hello there."])
    source.follow("Hello there.  How", "en")
    assert texts(source.complete) == ["Hello there."]
    assert source.open == [SourceSentence("How", "en", "  ")]
    source.follow("", "pt")
    assert source.sentences == []


def test_what_is_complete_is_not_split_again() -> None:
    seen: list[str] = []

    def split(text: str, language: str) -> list[str]:
        seen.append(text)
        return sentences(text, language)

    source = SourceText(split)
    source.follow("One. Two. Three", "en")
    source.follow("One. Two. Three four", "en")
    assert seen == ["One. Two. Three", "Three four"]


def test_what_is_not_stable_completes_nothing() -> None:
    source = SourceText(sentences)
    source.follow("One. T", "en", "wo. Three")
    assert texts(source.complete) == ["One."]
    assert texts(source.open) == ["Two.", "Three"]
    source.follow("One. T", "en", "oo many")
    assert texts(source.sentences) == ["One.", "Too many"]


def test_another_language_or_text_begins_anew() -> None:
    source = SourceText(sentences)
    source.follow("One. Two", "en")
    source.follow("One. Two", "pt")
    assert [sentence.language for sentence in source.sentences] == ["pt", "pt"]
    source.follow("Won. Two. Three", "pt")
    assert texts(source.complete) == ["Won.", "Two."]


def test_scripts_without_spaces_have_no_gaps() -> None:
    source = SourceText(sentences)
    source.follow("你好。再见", "zh")
    assert [(one.text, one.gap) for one in source.sentences] == [("你好。", ""), ("再见", "")]


@given(text=TEXTS, cuts=st.lists(st.integers(0, 40), max_size=6), unstable=TEXTS)
def test_growing_text_keeps_its_complete_sentences_and_loses_nothing(
    text: str, cuts: list[int], unstable: str
) -> None:
    source = SourceText(sentences)
    before: list[SourceSentence] = []
    for cut in sorted(cuts):
        source.follow(text[:cut], "en", unstable)
        assert source.complete[: len(before)] == before
        assert joined(source.sentences) == (text[:cut] + unstable).rstrip()
        before = [*source.complete]
    final = source.conclude(text, "en")
    assert final[: len(before)] == before
    assert joined(final) == text.rstrip()
