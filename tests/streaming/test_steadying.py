from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.steadying import Agreement, graft, joint

TEXTS = st.text(st.sampled_from("ab ,.é你"), max_size=30)


def shown(*translations: str) -> list[str]:
    steadier = Agreement()
    seen = []
    for text in translations:
        steadier.update(text)
        seen.append(steadier.shown)
    return seen


def test_what_two_translations_agree_on_is_shown() -> None:
    assert shown("Eu fui", "Eu fui para", "Eu fui para casa") == ["", "Eu fui", "Eu fui para"]


def test_agreement_on_less_takes_nothing_back() -> None:
    assert shown("a b c", "a b c", "a b", "a b", "a b") == ["", *["a b c"] * 4]


def test_only_the_fourth_contradiction_in_a_row_counts() -> None:
    kept = shown("a b c", "a b c", "a x c", "a x c", "a x c", "a x c", "a x c")
    assert kept == ["", *["a b c"] * 5, "a x c"]


def test_a_confirmation_forgives_contradictions() -> None:
    wavering = [*["a b"] * 2, *["a x"] * 4, *["a b"] * 2, *["a x"] * 4]
    assert set(shown(*wavering)[1:]) == {"a b"}


def test_scripts_without_spaces_agree_by_character() -> None:
    assert shown("我去学", "我去学校了")[-1] == "我去学"


@given(translations=st.lists(TEXTS, max_size=12))
def test_nothing_is_shown_that_no_translation_said(translations: list[str]) -> None:
    for at, text in enumerate(shown(*translations)):
        assert any(said.startswith(text) for said in translations[: at + 1])


@pytest.mark.parametrize(
    ("gap", "target", "between"),
    [
        (" ", "pt", " "),
        ("  ", "pt", "  "),
        ("", "pt", " "),
        (" ", "zh", ""),
        ("", "zh-Hant", ""),
        (" ", "ja", ""),
        (" ", "th", " "),
    ],
)
def test_what_stands_between_sentences(gap: str, target: str, between: str) -> None:
    assert joint(gap, target) == between


@pytest.mark.parametrize(
    ("promised", "text", "target", "whole"),
    [
        ("", "Bom dia.", "pt", "Bom dia."),
        ("Bom", "Bom dia.", "pt", "Bom dia."),
        ("Bom dia a", "Boa dia a todos.", "pt", "Bom dia a todos."),
        ("Bom dia.", "", "pt", "Bom dia."),
        ("Sim.", "Não e talvez", "pt", "Sim. e talvez"),
        ("我们去", "我去学校", "zh", "我们去学校"),
    ],
)
def test_what_was_promised_is_gone_on_from(
    promised: str, text: str, target: str, whole: str
) -> None:
    assert graft(promised, text, target) == whole


@given(promised=TEXTS, text=TEXTS)
def test_a_graft_keeps_the_promise(promised: str, text: str) -> None:
    assert graft(promised, text, "pt").startswith(promised)
