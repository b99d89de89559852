from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.bergamot import BergamotEngine
from inference.engine import Sentence
from inference.sentences import cut, split
from inference.translator import TextTranslator
from streaming.errors import (
    ModelUnavailable,
    Overloaded,
    PairUnsupported,
    Superseded,
    TranslationFailed,
)
from streaming.types import Priority, Route, TranslationJob


class Tagger:
    """An engine that marks what it did: ``Oi.`` → ``pt>en(Oi.)``. Can be held and broken."""

    max_chars = 60
    max_batch = 4

    def __init__(
        self,
        name: str,
        *pairs: str,
        version: str = "1",
        replicas: int = 1,
        steerable: bool = False,
    ) -> None:
        self.name = name
        self.steerable = steerable
        self.version = f"{name}-{version}"
        self.replicas = replicas
        self.pairs = frozenset((pair[:2], pair[3:]) for pair in pairs)
        self.calls: list[list[Sentence]] = []
        self.loaded = self.closed = 0
        self.free = threading.Event()
        self.free.set()
        self.busy = threading.Event()

    def load(self) -> None:
        self.loaded += 1

    def close(self) -> None:
        self.closed += 1

    def translate(self, sentences: Sequence[Sentence]) -> list[str]:
        self.busy.set()
        self.free.wait(20)
        self.calls.append(list(sentences))
        if any("break" in sentence.text for sentence in sentences):
            raise RuntimeError("a secret of the engine")
        return [f"{one.source}>{one.target}({one.text})" for one in sentences]

    @property
    def texts(self) -> list[str]:
        return [sentence.text for call in self.calls for sentence in call]


def job(text: str, source: str = "en", target: str = "pt", **changes: Any) -> TranslationJob:
    fields: dict[str, Any] = {
        "session": "s",
        "segment": 1,
        "revision": 1,
        "priority": Priority.FINAL,
        **changes,
    }
    return TranslationJob(text=text, source=source, target=target, **fields)


@pytest.fixture
def latin() -> Tagger:
    return Tagger("latin", "en-pt", "pt-en", "en-es")


@pytest.fixture
def asian() -> Tagger:
    return Tagger("asian", "en-zh", "zh-en", "en-pt")


@pytest.fixture
async def translator(latin: Tagger, asian: Tagger) -> AsyncIterator[TextTranslator]:
    made = TextTranslator([latin, asian])
    made.start()
    yield made
    latin.free.set()
    asian.free.set()
    await made.close()


async def queued(translator: TextTranslator, jobs: int, *, engine: str = "latin") -> None:
    """Wait until so many jobs wait for an engine."""
    while sum(translator.stats.engines[engine].queued.values()) < jobs:  # noqa: ASYNC110 - a queue's length is no event
        await asyncio.sleep(0)


async def translated(translator: TextTranslator, text: str, source: str, target: str) -> str:
    return (await translator.translate(job(text, source, target))).text


async def test_the_first_engine_that_can_does_it(translator: TextTranslator) -> None:
    done = await translator.translate(job("Hello."))
    assert (done.text, done.engine) == ("en>pt(Hello.)", "latin")
    done = await translator.translate(job("Hello.", target="zh"))
    assert done.engine == "asian"


async def test_other_pairs_go_through_english(translator: TextTranslator) -> None:
    done = await translator.translate(job("Oi.", "pt", "zh"))
    assert (done.text, done.engine) == ("en>zh(pt>en(Oi.))", "latin+asian")
    done = await translator.translate(job("你好。", "zh", "es"))
    assert (done.text, done.engine) == ("en>es(zh>en(你好。))", "asian+latin")


async def test_routes_say_what_would_happen(translator: TextTranslator) -> None:
    assert translator.route("en", "pt") == Route("en", "pt", "direct", "latin")
    assert translator.route("pt", "zh") == Route("pt", "zh", "pivot", "latin+asian")
    assert translator.route("fr", "fr") == Route("fr", "fr", "identity", "identity")
    assert translator.route("es", "en") is None
    assert translator.pairs == {
        *(("en", target) for target in ("pt", "es", "zh")),
        *(("pt", target) for target in ("en", "es", "zh")),
        *(("zh", target) for target in ("en", "es", "pt")),
    }
    for source, target in translator.pairs:
        assert translator.route(source, target) is not None


async def test_the_same_language_is_left_alone(translator: TextTranslator, latin: Tagger) -> None:
    done = await translator.translate(job("  Oi.\n", "pt-BR", "pt"))
    assert (done.text, done.engine) == ("  Oi.\n", "identity")
    assert not latin.calls


async def test_other_spellings_of_a_language_are_understood(translator: TextTranslator) -> None:
    assert await translated(translator, "Hello.", "EN_us", "pt-BR") == "en>pt(Hello.)"


async def test_an_impossible_pair_is_refused_with_what_is_possible(
    translator: TextTranslator,
) -> None:
    with pytest.raises(PairUnsupported) as caught:
        await translator.translate(job("Hallo", "pt", "de"))
    assert caught.value.details == {
        "source": "pt",
        "target": "de",
        "targets": ["en", "es", "zh"],
        "sources": [],
    }
    assert "German (de)" in caught.value.message
    assert "en, es, zh" in caught.value.message
    with pytest.raises(PairUnsupported, match="can be reached from: en, pt, zh"):
        await translator.translate(job("Hola", "fr", "es"))


@pytest.mark.parametrize("text", ["", " ", "\n\t ", "\u2028", "...", "12:30", "🎉 100%"])
async def test_what_has_no_words_needs_no_engine(
    translator: TextTranslator, latin: Tagger, text: str
) -> None:
    assert await translated(translator, text, "en", "pt") == text
    assert not latin.calls


async def test_layout_is_kept(translator: TextTranslator) -> None:
    text = "  Hello there.  How are you?\n\n\tFine.\r\n- ok\n"
    assert await translated(translator, text, "en", "pt") == (
        "  en>pt(Hello there.)  en>pt(How are you?)\n\n\ten>pt(Fine.)\r\nen>pt(- ok)\n"
    )


async def test_spaces_appear_where_the_target_writes_them(translator: TextTranslator) -> None:
    assert await translated(translator, "你好。再见。", "zh", "en") == (
        "zh>en(你好。) zh>en(再见。)"
    )


async def test_no_engine_sees_more_than_its_limit(
    translator: TextTranslator, latin: Tagger
) -> None:
    text = "word and another, " * 30 + "x" * 200 + "."
    done = await translated(translator, text, "en", "pt")
    assert max(map(len, latin.texts)) <= latin.max_chars
    unmarked = done.replace("en>pt(", "").replace(")", "")
    assert unmarked.replace(" ", "") == text.replace(" ", "")


async def test_a_sentence_is_translated_once(translator: TextTranslator, latin: Tagger) -> None:
    await translated(translator, "Yes. No. Yes. Yes.", "en", "pt")
    assert sorted(latin.texts) == ["No.", "Yes."]
    assert await translated(translator, "No. Maybe. Yes.", "en", "pt") == (
        "en>pt(No.) en>pt(Maybe.) en>pt(Yes.)"
    )
    assert sorted(latin.texts) == ["Maybe.", "No.", "Yes."]
    await translated(translator, "No.", "en", "es")
    assert latin.texts[-1] == "No."
    assert translator.stats.cache.size == 4
    assert translator.stats.cache.hits == 2
    translator.forget()
    assert translator.stats.cache.size == 0
    await translated(translator, "No.", "en", "pt")
    assert latin.texts.count("No.") == 3


async def test_memory_is_bounded(latin: Tagger) -> None:
    translator = TextTranslator([latin], remembered=3)
    translator.start()
    for text in ("A.", "B.", "C.", "A.", "D.", "A.", "B."):
        await translator.translate(job(text))
    assert translator.stats.cache.size == 3
    assert latin.texts == ["A.", "B.", "C.", "D.", "B."]  # B was the least recently used
    await translator.close()


async def test_a_fault_stays_inside_and_hurts_nobody_else(
    translator: TextTranslator, latin: Tagger
) -> None:
    latin.free.clear()
    first = asyncio.ensure_future(translator.translate(job("First.", session="a")))
    await asyncio.to_thread(latin.busy.wait, 20)
    others = [
        asyncio.ensure_future(translator.translate(job(text, session=text)))
        for text in ("Good.", "Please break.", "Fine.")
    ]
    await queued(translator, 3)
    latin.free.set()
    results = await asyncio.gather(first, *others, return_exceptions=True)
    assert isinstance(results[2], TranslationFailed)
    assert "secret" not in results[2].message
    texts = [one.text for one in results if not isinstance(one, BaseException)]
    assert texts == ["en>pt(First.)", "en>pt(Good.)", "en>pt(Fine.)"]
    assert any(len(call) == 3 for call in latin.calls)  # they did share a batch


async def test_a_newer_partial_takes_the_place_of_the_older(
    translator: TextTranslator, latin: Tagger
) -> None:
    latin.free.clear()
    running = asyncio.ensure_future(translator.translate(job("Zero.", session="other")))
    await asyncio.to_thread(latin.busy.wait, 20)

    def ask(text: str, revision: int, target: str = "pt") -> asyncio.Task[Any]:
        partial = job(text, target=target, revision=revision, priority=Priority.PARTIAL)
        return asyncio.ensure_future(translator.translate(partial))

    older, spanish = ask("Hello", 1), ask("Hello", 1, "es")
    await queued(translator, 2)
    newer = ask("Hello there", 2)
    with pytest.raises(Superseded):  # at once, before anything could run
        await older
    latin.free.set()
    assert (await newer).text == "en>pt(Hello there)"
    assert (await spanish).text == "en>es(Hello)"  # another target is another caption
    await running
    assert translator.stats.engines["latin"].superseded == 1


async def test_what_is_shown_steers_the_last_hop_of_one_sentence() -> None:
    into = Tagger("into", "pt-en", steerable=True)
    out_of = Tagger("out", "en-es", steerable=True)
    translator = TextTranslator([into, out_of])
    translator.start()
    for text, source in (("Oi.", "pt"), ("Oi.", "pt"), ("Hello. Yes.", "en"), ("Yes.", "en")):
        await translator.translate(job(text, source, "es", prefix="Hola"))
    assert [one.prefix for call in into.calls for one in call] == [""]
    assert [[(one.text, one.prefix) for one in call] for call in out_of.calls] == [
        [("pt>en(Oi.)", "Hola")],
        [("pt>en(Oi.)", "Hola")],  # what was steered is not remembered
        [("Hello.", ""), ("Yes.", "")],  # whose beginning it is, nobody knows
        [("Yes.", "Hola")],
    ]
    await translator.close()


async def test_an_engine_that_can_not_be_steered_sees_no_prefix(
    translator: TextTranslator, latin: Tagger
) -> None:
    await translator.translate(job("Hello", prefix="Oi", priority=Priority.PARTIAL))
    assert latin.calls == [[Sentence("Hello", "en", "pt")]]


async def test_live_captions_overtake_a_book(translator: TextTranslator, latin: Tagger) -> None:
    latin.free.clear()
    book = " ".join(f"This is sentence {number} of a book." for number in range(40))
    slow = asyncio.ensure_future(
        translator.translate(job(book, session="book", priority=Priority.OFFLINE))
    )
    await asyncio.to_thread(latin.busy.wait, 20)
    live = asyncio.ensure_future(translator.translate(job("Live!", session="live")))
    await queued(translator, 1)
    latin.free.set()
    assert (await live).text == "en>pt(Live!)"
    assert (await slow).text.count("en>pt(") == 40
    position = next(n for n, call in enumerate(latin.calls) if call[0].text == "Live!")
    assert position <= 2 < len(latin.calls) - 1


async def test_a_full_queue_says_so(latin: Tagger) -> None:
    translator = TextTranslator([latin], capacity=1)
    translator.start()
    latin.free.clear()
    running = asyncio.ensure_future(translator.translate(job("One.", session="1")))
    await asyncio.to_thread(latin.busy.wait, 20)
    waiting = asyncio.ensure_future(translator.translate(job("Two.", session="2")))
    await queued(translator, 1)
    with pytest.raises(Overloaded):
        await translator.translate(job("Three.", session="3"))
    latin.free.set()
    assert (await running).text == "en>pt(One.)"
    assert (await waiting).text == "en>pt(Two.)"
    await translator.close()


async def test_a_cancelled_translation_never_runs(
    translator: TextTranslator, latin: Tagger
) -> None:
    latin.free.clear()
    running = asyncio.ensure_future(translator.translate(job("One.", session="1")))
    await asyncio.to_thread(latin.busy.wait, 20)
    waiting = asyncio.ensure_future(translator.translate(job("Two.", session="2")))
    await queued(translator, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    latin.free.set()
    await running
    await translated(translator, "Three.", "en", "pt")
    assert "Two." not in latin.texts


async def test_engines_are_loaded_and_freed(latin: Tagger, asian: Tagger) -> None:
    translator = TextTranslator([latin, asian])
    await asyncio.to_thread(translator.warm_up)
    assert latin.loaded == asian.loaded == 1
    translator.start()
    translator.start()
    await translator.close()
    await translator.close()
    assert latin.closed
    assert asian.closed
    with pytest.raises(ModelUnavailable):
        await translator.translate(job("Hello."))


def test_two_engines_of_one_name_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="names of their own"):
        TextTranslator([Tagger("one", "en-pt"), Tagger("one", "pt-en")])


async def test_real_sentences_keep_their_layout_and_markup() -> None:
    translator = TextTranslator([BergamotEngine()])
    translator.start()
    done = await translator.translate(
        job("Good morning, my friends.\n\nPress the <b>red</b> button.  I live in Brazil.")
    )
    first, second = done.text.split("\n\n")
    assert "Bom dia" in first
    assert "<b>vermelho</b>" in second
    assert second.endswith("  Eu moro no Brasil.")
    assert done.engine == "bergamot"
    await translator.close()


TEXTS = st.text(st.sampled_from("ab é.,!?;: \n\r\t。，你かＡ\u0301\u2028<>/1🎉"), max_size=150)


@given(text=TEXTS, limit=st.integers(1, 40), language=st.sampled_from(["en", "pt", "zh", "xx"]))
def test_splitting_loses_nothing(text: str, limit: int, language: str) -> None:
    parts = split(text, language, limit)
    assert len(parts.gaps) == len(parts.sentences) + 1
    pairs = zip(parts.sentences, parts.gaps[1:], strict=True)
    assert parts.gaps[0] + "".join(sentence + gap for sentence, gap in pairs) == text
    for sentence in parts.sentences:
        assert 0 < len(sentence) <= limit
        assert sentence == sentence.strip()
        assert "\n" not in sentence


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("one two, three four", 12, ["one two,", "three four"]),
        ("one two three four", 12, ["one two", "three four"]),
        ("onetwothreefour", 6, ["onetwo", "threef", "our"]),
        ("a, onetwo three", 12, ["a, onetwo", "three"]),
        ("abcde\u0301fgh", 5, ["abcd", "e\u0301fgh"]),
        ("fits", 4, ["fits"]),
    ],
)
def test_overlong_sentences_are_cut_where_one_would_breathe(
    text: str, limit: int, pieces: list[str]
) -> None:
    assert [piece for piece, _ in cut(text, limit)] == pieces
