from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from app.transcription import Transcriber
from inference.fakes import FakeDetector, FakeRecognizer, FakeTranslator, Tones, silence
from streaming.errors import Overloaded, PairUnsupported, RecognitionFailed
from streaming.types import Audio, Hypothesis, Priority, RecognitionJob
from tests.app.support import languages

TONES = Tones()


def transcriber(
    recognizer: FakeRecognizer, translator: FakeTranslator | None = None, **limits: int
) -> Transcriber:
    translator = translator or FakeTranslator()
    return Transcriber(
        recognizer=recognizer,
        detector=FakeDetector(),
        translator=translator,
        languages=languages(recognizer, translator),
        **limits,
    )


def talk(*texts: str, gap: float = 3.0) -> Audio:
    pieces = [silence(0.3)]
    for text in texts:
        pieces += [TONES.speak(text), silence(gap)]
    return np.concatenate(pieces)


async def test_a_long_recording_is_heard_in_pieces_that_fit() -> None:
    recognizer = FakeRecognizer()
    audio = talk(" ".join(["alpha bravo charlie. delta"] * 60).replace(".", ""))
    found = await transcriber(recognizer).transcribe(audio)
    assert len(recognizer.jobs) >= 3
    assert all(len(job.audio) <= 25 * 16_000 for job in recognizer.jobs)
    assert len({(job.session, job.segment) for job in recognizer.jobs}) == len(recognizer.jobs)
    spoken = found.text.split()
    # A cut may cost the tone it falls into, which has no pause before it in this language.
    assert len(spoken) >= 240 - len(recognizer.jobs)
    assert found.duration == pytest.approx(len(audio) / 16_000, abs=0.001)


class Polyglot(FakeRecognizer):
    """Takes the second piece for German unless told otherwise."""

    async def recognize(self, job: RecognitionJob) -> Hypothesis:
        found = await super().recognize(job)
        if job.language is None and found.text == "bravo":
            return replace(found, language="de", language_probability=0.6)
        return found


async def test_the_language_is_settled_on_the_first_pieces() -> None:
    recognizer = Polyglot()
    found = await transcriber(recognizer).transcribe(talk("alpha", "bravo", "charlie", "delta"))
    assert found.language == "en"
    assert found.text == "alpha bravo charlie delta"
    asked = [job.language for job in recognizer.jobs]
    # Three to elect it, one heard again in it, the rest with it.
    assert asked == [None, None, None, "en", "en"]
    assert {job.priority for job in recognizer.jobs} == {Priority.OFFLINE}


async def test_a_given_language_is_not_questioned() -> None:
    recognizer = FakeRecognizer()
    found = await transcriber(recognizer).transcribe(talk("alpha", "bravo"), language="pt")
    assert found.language == "pt"
    assert {job.language for job in recognizer.jobs} == {"pt"}


async def test_what_cannot_be_translated_is_known_after_the_first_pieces() -> None:
    recognizer = FakeRecognizer(translates=False, detected="de")
    texts = ["alpha"] * 6
    with pytest.raises(PairUnsupported) as caught:
        await transcriber(recognizer).transcribe(talk(*texts), target="pt")
    assert len(recognizer.jobs) == 3
    assert caught.value.details["possible"] == ["de"]


async def test_an_error_stops_the_rest() -> None:
    recognizer = FakeRecognizer()
    recognizer.fail_next(RecognitionFailed("no"))
    recognizer.gate.shut()
    work = asyncio.create_task(
        transcriber(recognizer).transcribe(talk(*["alpha"] * 8), language="en")
    )
    await recognizer.gate.arrived(4)
    recognizer.gate.release()
    with pytest.raises(RecognitionFailed):
        await work
    assert len(recognizer.jobs) <= 5


async def test_only_so_many_recordings_at_once() -> None:
    subject = transcriber(FakeRecognizer(), parallel=1, waiting=1)
    release = asyncio.Event()

    async def hold() -> None:
        async with subject.slot():
            await release.wait()

    held = [asyncio.create_task(hold()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        async with subject.slot():
            pass
    release.set()
    await asyncio.gather(*held)
    async with subject.slot():
        pass
