"""The embedded English-Portuguese engine, for real."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference import bergamot
from inference.bergamot import BergamotEngine
from inference.engine import Sentence
from inference.markup import translate_around
from streaming.errors import TranslationFailed


@pytest.fixture(scope="module")
def engine() -> BergamotEngine:
    made = BergamotEngine()
    made.load()
    return made


def to_portuguese(engine: BergamotEngine, text: str) -> str:
    return engine.translate([Sentence(text, "en", "pt")])[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good morning.", "bom dia"),
        ("The book is on the table.", "mesa"),
        ("Thank you very much for your help.", "obrigad"),
        ("The weather is fine today.", "hoje"),
    ],
)
def test_it_speaks_portuguese(engine: BergamotEngine, text: str, expected: str) -> None:
    assert expected in to_portuguese(engine, text).lower()


def test_it_speaks_english(engine: BergamotEngine) -> None:
    (text,) = engine.translate([Sentence("Bom dia, meus amigos.", "pt", "en")])
    assert "good morning" in text.lower()
    assert "friends" in text.lower()


def test_directions_may_be_mixed(engine: BergamotEngine) -> None:
    there, back = engine.translate(
        [Sentence("I live in Brazil.", "en", "pt"), Sentence("Eu moro no Brasil.", "pt", "en")]
    )
    assert "Brasil" in there
    assert "Brazil" in back


@pytest.mark.parametrize(
    "text", ["I live in Brazil.", "Put it on the floor.", "He is in the garden at night."]
)
def test_in_the_does_not_become_not(engine: BergamotEngine, text: str) -> None:
    words = to_portuguese(engine, text).lower().split()
    assert "no" in words
    assert "não" not in words


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Press the <b>red</b> button.", ["<b>", "</b>"]),
        ("<p>Welcome to <a href='x.html'>our site</a>!</p>", ["<p>", "<a href='x.html'>", "</p>"]),
        ("See https://example.com/a?b=c now.", ["https://example.com/a?b=c"]),
        ("Write to me@example.com today.", ["me@example.com"]),
        ("Hello 🎉 world", ["🎉"]),
        ("She said 你好 to me.", ["你好"]),
        ("{name} is here.", ["{name}"]),
        ("Use `git push` now.", ["`git push`"]),
        ("The sources [1] and [0] agree.", ["[1]", "[0]"]),
        ("Fish &amp; chips are good.", ["&amp;"]),
    ],
)
def test_what_is_no_language_survives(engine: BergamotEngine, text: str, kept: list[str]) -> None:
    translated = to_portuguese(engine, text)
    positions = [translated.find(span) for span in kept]
    assert -1 not in positions
    assert all(translated.count(span) == text.count(span) for span in kept)
    assert translated != text


def test_marked_words_are_translated_too(engine: BergamotEngine) -> None:
    assert "<b>vermelho</b>" in to_portuguese(engine, "Press the <b>red</b> button.")


def test_typographic_quotes_do_not_hide_words(engine: BergamotEngine) -> None:
    assert "hello" not in to_portuguese(engine, "He said \u201chello\u201d to us.").lower()


def test_threads_share_the_models(engine: BergamotEngine) -> None:
    texts = [f"This is sentence number {number} about the weather." for number in range(24)]
    alone = [to_portuguese(engine, text) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda text: to_portuguese(engine, text), texts)) == alone


def test_other_pairs_are_refused(engine: BergamotEngine) -> None:
    with pytest.raises(TranslationFailed, match="does not translate de to en"):
        engine.translate([Sentence("Guten Tag", "de", "en")])


def test_instances_share_the_models_and_survive_each_other(engine: BergamotEngine) -> None:
    other = BergamotEngine()
    first = to_portuguese(other, "Good morning.")
    other.close()
    other.close()
    assert to_portuguese(other, "Good morning.") == first
    assert to_portuguese(engine, "Good morning.") == first


def test_a_lost_mark_falls_back_to_pieces() -> None:
    def forgetful(text: str) -> str:
        return text.replace("[1]", "").upper()

    assert translate_around("see <b>this</b> now", forgetful) == "SEE <b>THIS</b> NOW"


@pytest.mark.parametrize("made_up", ["[0] [0] A", "A", "[0] [7] A", "[1] [0] A"])
def test_doubled_and_made_up_marks_do_not_get_out(made_up: str) -> None:
    translated = translate_around("<i>a</i>", lambda text: made_up if "[" in text else text.upper())
    assert translated == "<i>A</i>"


def test_a_text_without_words_is_left_alone() -> None:
    def fail(text: str) -> str:
        raise AssertionError(text)

    assert (
        translate_around("<br> 🎉 https://example.com/x", fail) == "<br> 🎉 https://example.com/x"
    )


def test_it_goes_on_although_all_its_threads_hang(engine: BergamotEngine) -> None:
    release = threading.Event()
    for _ in range(os.cpu_count() or 1):
        bergamot._THREADS[-1].submit(release.wait)
    engine.recover()
    assert "bom dia" in to_portuguese(engine, "Good morning.").lower()
    release.set()
