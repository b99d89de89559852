from __future__ import annotations

import asyncio
from itertools import pairwise

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.fakes import (
    WORDS,
    FakeContainerDecoder,
    FakeDetector,
    FakeRecognizer,
    FakeTranslator,
    Tones,
    silence,
)
from streaming.errors import (
    BrokenStream,
    PairUnsupported,
    RecognitionFailed,
    Superseded,
    TranslationFailed,
)
from streaming.ports import ContainerDecoder, Recognizer, Translator, VoiceDetector
from streaming.types import Priority, RecognitionJob, TranslationJob


def heard(tones: Tones, audio: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> str:
    return "".join(word.text for word in tones.hear(audio))


@given(words=st.lists(st.sampled_from(WORDS), max_size=12), lead=st.integers(0, 5000))
@settings(max_examples=30, deadline=None)
def test_what_is_spoken_is_heard(words: list[str], lead: int) -> None:
    tones = Tones()
    audio = np.concatenate([silence(lead / 16_000), tones.speak(" ".join(words)), silence(0.3)])
    assert heard(tones, audio) == " ".join(words)


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_tones_survive_resampling_and_quantising(rate: int) -> None:
    tones = Tones()
    text = " ".join(WORDS)
    there = soxr.resample(tones.speak(text), 16_000, rate)
    coarse = (np.round(there * 32767).astype(np.int16) / 32768).astype(np.float32)
    assert heard(tones, soxr.resample(coarse, rate, 16_000).astype(np.float32)) == text


def test_the_beginning_of_speech_gives_the_beginning_of_the_text() -> None:
    tones = Tones()
    audio = tones.speak("alpha bravo charlie delta")
    texts = [heard(tones, audio[:end]) for end in range(0, len(audio), 700)]
    for earlier, later in pairwise(texts):
        assert later.startswith(earlier)


def test_words_are_timed() -> None:
    words = Tones().hear(np.concatenate([silence(0.5), Tones().speak("alpha bravo")]))
    assert [word.text for word in words] == ["alpha", " bravo"]
    assert [word.start for word in words] == pytest.approx([0.5, 0.756], abs=0.01)
    assert [word.end for word in words] == pytest.approx([0.692, 0.948], abs=0.01)


def test_a_language_has_limits() -> None:
    with pytest.raises(ValueError, match="twice"):
        Tones(("a", "a"))
    with pytest.raises(ValueError, match="too many"):
        Tones([str(number) for number in range(200)])
    with pytest.raises(ValueError, match="unspoken"):
        Tones().speak("unspoken")


def job(
    text: str = "alpha", revision: int = 1, priority: Priority = Priority.FINAL
) -> RecognitionJob:
    return RecognitionJob("s", 1, revision, Tones().speak(text), priority)


async def test_the_gate_holds_calls_and_lets_them_go_in_order() -> None:
    recognizer = FakeRecognizer()
    recognizer.gate.shut()
    first = asyncio.create_task(recognizer.recognize(job("alpha")))
    second = asyncio.create_task(recognizer.recognize(job("bravo")))
    await recognizer.gate.arrived(2)
    recognizer.gate.release()
    assert (await first).text == "alpha"
    assert not second.done()
    assert recognizer.gate.waiting == 1
    recognizer.gate.open()
    assert (await second).text == "bravo"
    assert (await recognizer.recognize(job("charlie"))).text == "charlie"
    assert len(recognizer.jobs) == 3


async def test_a_cancelled_call_uses_up_no_release() -> None:
    recognizer = FakeRecognizer()
    recognizer.gate.shut()
    gone = asyncio.create_task(recognizer.recognize(job("alpha")))
    kept = asyncio.create_task(recognizer.recognize(job("bravo")))
    await recognizer.gate.arrived(2)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    recognizer.gate.release()
    assert (await kept).text == "bravo"


async def test_a_newer_partial_supersedes_one_at_the_gate() -> None:
    recognizer = FakeRecognizer()
    recognizer.gate.shut()
    older = asyncio.create_task(recognizer.recognize(job("alpha", 1, Priority.PARTIAL)))
    await recognizer.gate.arrived(1)
    newer = asyncio.create_task(recognizer.recognize(job("alpha bravo", 2, Priority.PARTIAL)))
    with pytest.raises(Superseded):
        await older
    recognizer.gate.open()
    assert (await newer).text == "alpha bravo"


async def test_scripted_failures_come_one_each() -> None:
    recognizer = FakeRecognizer()
    recognizer.fail_next(RecognitionFailed("one"), RecognitionFailed("two"))
    for message in ("one", "two"):
        with pytest.raises(RecognitionFailed, match=message):
            await recognizer.recognize(job())
    assert (await recognizer.recognize(job())).text == "alpha"


async def test_the_translator_tags_and_shouts() -> None:
    translator = FakeTranslator([("en", "de")])
    ask = TranslationJob("s", 1, 1, "Good morning.", "en", "de", Priority.FINAL)
    assert (await translator.translate(ask)).text == "[de] GOOD MORNING."
    blank = TranslationJob("s", 1, 1, "  ", "en", "de", Priority.FINAL)
    assert (await translator.translate(blank)).text == ""
    with pytest.raises(PairUnsupported):
        await translator.translate(TranslationJob("s", 1, 1, "x", "en", "pt", Priority.FINAL))
    translator.fail_next(TranslationFailed("no"))
    with pytest.raises(TranslationFailed):
        await translator.translate(ask)


@given(cuts=st.lists(st.integers(0, 2000), max_size=5))
@settings(max_examples=20, deadline=None)
async def test_a_container_may_be_cut_anywhere(cuts: list[int]) -> None:
    audio = Tones().speak("alpha bravo")
    data = FakeContainerDecoder.wrap(audio)
    decoder = FakeContainerDecoder()
    pieces = []
    edges = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(edges):
        pieces.append(await decoder.feed(data[start:end]))
    pieces.append(await decoder.flush())
    decoder.close()
    np.testing.assert_allclose(np.concatenate(pieces), audio, atol=1e-4)


async def test_what_is_no_container_is_refused() -> None:
    with pytest.raises(BrokenStream):
        await FakeContainerDecoder().feed(b"RIFF....")
    cut = FakeContainerDecoder()
    await cut.feed(b"FAKE\x00")
    with pytest.raises(BrokenStream):
        await cut.flush()


def test_the_fakes_are_the_ports() -> None:
    recognizer: Recognizer = FakeRecognizer()
    detector: VoiceDetector = FakeDetector()
    translator: Translator = FakeTranslator()
    decoder: ContainerDecoder = FakeContainerDecoder()
    assert recognizer.model == "fake"
    assert recognizer.translates
    assert "en" in recognizer.languages
    assert ("en", "pt") in translator.pairs
    assert detector.open() is not detector.open()
    decoder.close()
