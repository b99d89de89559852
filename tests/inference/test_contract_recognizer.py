"""What every ``Recognizer`` does, the fake and the real one alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from bench.corpus import normalize
from inference.fakes import FakeRecognizer, Tones, silence
from streaming.errors import AudioTooLong, Superseded, UnknownLanguage
from streaming.ports import Recognizer
from streaming.types import SAMPLE_RATE, Audio, Hypothesis, Priority, RecognitionJob
from tests.inference.whispers import load_base
from tests.speech import audioeval_clips


@dataclass(frozen=True, slots=True)
class Case:
    recognizer: Recognizer
    spoken: tuple[tuple[Audio, str], ...]
    """English speech with what is said."""

    def job(self, index: int = 0, **changes: Any) -> RecognitionJob:
        fields: dict[str, Any] = {
            "session": f"session {index}",
            "segment": 1,
            "revision": 1,
            "audio": self.spoken[index][0],
            "priority": Priority.FINAL,
            "language": "en",
        }
        return RecognitionJob(**(fields | changes))


@pytest.fixture(params=["fake", "whisper"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "fake":
        tones = Tones()
        texts = ("alpha bravo charlie", "Good morning.", "How are you?")
        yield Case(FakeRecognizer(tones), tuple((tones.speak(text), text) for text in texts))
        return
    recognizer = load_base()
    recognizer.start()
    hello, fox = (clip for clip in audioeval_clips("en") if clip.id != "en/counting")
    both = np.concatenate([hello.audio(), silence(0.4), fox.audio()])
    yield Case(
        recognizer,
        (
            (fox.audio(), fox.text or ""),
            (hello.audio(), hello.text or ""),
            (both, f"{hello.text} {fox.text}"),
        ),
    )
    await recognizer.close()


def test_it_says_what_it_can(case: Case) -> None:
    assert case.recognizer.model
    assert "en" in case.recognizer.languages
    assert isinstance(case.recognizer.translates, bool)


async def test_it_hears_what_is_said(case: Case) -> None:
    for index, (_, text) in enumerate(case.spoken):
        heard = await case.recognizer.recognize(case.job(index))
        assert normalize(heard.text, "en") == normalize(text, "en")
        assert heard.text == heard.text.strip()
        assert heard.language == "en"
        assert 0.3 < heard.confidence <= 1.0
        assert heard.words is None


async def test_sessions_do_not_touch_each_other(case: Case) -> None:
    alone = [(await case.recognizer.recognize(case.job(index))).text for index in range(3)]
    jobs = [case.job(index, session=f"{turn}/{index}") for turn in range(4) for index in range(3)]
    together = await asyncio.gather(*(case.recognizer.recognize(job) for job in jobs))
    assert [heard.text for heard in together] == alone * 4


@pytest.mark.parametrize("seconds", [0.0, 0.01, 3.0])
@pytest.mark.parametrize("words", [False, True])
async def test_silence_has_no_text(case: Case, seconds: float, words: bool) -> None:
    heard = await case.recognizer.recognize(case.job(audio=silence(seconds), words=words))
    assert heard.text == ""
    assert heard.words == (() if words else None)
    assert heard.no_speech_probability > 0.6


async def test_words_are_timed_and_make_up_the_text(case: Case) -> None:
    audio = case.spoken[0][0]
    heard = await case.recognizer.recognize(case.job(words=True))
    assert heard.words
    assert "".join(word.text for word in heard.words) == heard.text
    times = [time for word in heard.words for time in (word.start, word.end)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= len(audio) / SAMPLE_RATE
    assert all(0 <= word.probability <= 1 for word in heard.words)


async def test_the_language_is_found_and_a_hint_kept(case: Case) -> None:
    heard = await case.recognizer.recognize(case.job(language=None))
    assert heard.language == "en"
    assert 0 <= heard.language_probability <= 1
    hinted = case.job(language=None, language_hint="pt", audio=case.spoken[0][0][:8000])
    assert (await case.recognizer.recognize(hinted)).language == "pt"


async def test_translating_keeps_the_language_spoken(case: Case) -> None:
    assert case.recognizer.translates
    heard = await case.recognizer.recognize(case.job(task="translate"))
    assert heard.text
    assert heard.language == "en"


async def test_context_is_taken(case: Case) -> None:
    job = case.job(prompt="What was said before.", vocabulary=("Surtitle", "Whisper"))
    assert (await case.recognizer.recognize(job)).text


async def test_what_cannot_be_done_is_refused(case: Case) -> None:
    with pytest.raises(UnknownLanguage):
        await case.recognizer.recognize(case.job(language="tlh"))
    with pytest.raises(AudioTooLong):
        await case.recognizer.recognize(case.job(audio=silence(30.1)))


async def test_of_partials_the_newest_is_always_answered(case: Case) -> None:
    # Of few words: a beginning of many may be heard so wrongly that it is no answer.
    audio = case.spoken[1][0]
    revisions = [
        case.job(
            revision=number, priority=Priority.PARTIAL, audio=audio[: len(audio) * number // 5]
        )
        for number in range(1, 6)
    ]
    answers = await asyncio.gather(
        *(case.recognizer.recognize(job) for job in revisions), return_exceptions=True
    )
    assert all(isinstance(answer, Hypothesis | Superseded) for answer in answers)
    assert isinstance(answers[-1], Hypothesis)
    assert answers[-1].text


async def test_cancelling_one_harms_no_other(case: Case) -> None:
    tasks = [asyncio.create_task(case.recognizer.recognize(case.job(index))) for index in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(answers[0], Hypothesis)
    assert isinstance(answers[2], Hypothesis)
    assert not isinstance(answers[1], Exception)


async def test_broken_samples_fail_no_one_else(case: Case) -> None:
    broken = np.full(16_000, np.nan, dtype=np.float32)
    bad, good = await asyncio.gather(
        case.recognizer.recognize(case.job(1, audio=broken)),
        case.recognizer.recognize(case.job(0)),
        return_exceptions=True,
    )
    assert isinstance(good, Hypothesis)
    assert normalize(good.text, "en") == normalize(case.spoken[0][1], "en")
    assert not isinstance(bad, Hypothesis) or bad.text == ""
