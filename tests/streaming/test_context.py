from __future__ import annotations

from typing import Any

import pytest

from streaming.context import Context
from streaming.types import SAMPLE_RATE, Hypothesis


def heard(text: str, language: str = "en", **changes: Any) -> Hypothesis:
    return Hypothesis(text, language, **{"confidence": 0.9, **changes})


def test_the_newest_finals_go_before_what_follows() -> None:
    context = Context()
    assert context.before(0) == ""
    context.take(heard("One."), "One.", 100)
    context.take(heard("Two."), "Two.", 200)
    assert context.before(300) == "One. Two."
    assert context.language == "en"


def test_what_was_said_long_ago_does_not() -> None:
    context = Context()
    context.take(heard("One."), "One.", 0)
    assert context.before(30 * SAMPLE_RATE) == "One."
    assert context.before(30 * SAMPLE_RATE + 1) == ""


def test_another_language_begins_anew() -> None:
    context = Context()
    context.take(heard("One."), "One.", 0)
    context.take(heard("Dois.", "pt"), "Dois.", 100)
    assert (context.language, context.before(100)) == ("pt", "Dois.")


@pytest.mark.parametrize("doubtful", [{"confidence": 0.3}, {"redone": True}])
def test_after_doubtful_text_there_is_none(doubtful: dict[str, Any]) -> None:
    context = Context()
    context.take(heard("One."), "One.", 0)
    context.take(heard("Thank you.", **doubtful), "Thank you.", 100)
    assert context.before(100) == ""


def test_an_unlikely_language_is_no_change() -> None:
    context = Context()
    context.take(heard("One."), "One.", 0)
    context.take(heard("Um.", "pt", language_probability=0.4), "Um.", 100)
    assert context.language == "en"
    assert context.before(100) == ""


def test_it_has_a_bound() -> None:
    context = Context()
    for _ in range(100):
        context.take(heard("word " * 20), "word " * 20, 0)
    assert len(context.before(0)) <= 300
