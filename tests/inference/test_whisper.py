"""The recogniser: the port on a loaded model."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from bench.corpus import normalize
from inference.decoding import BUCKETS, FULL
from inference.dispatcher import Dispatcher
from inference.models import ModelStore
from inference.whisper import WhisperRecognizer
from inference.whisper_tokens import WhisperTokens
from streaming.errors import MediaError, ModelUnavailable, PairUnsupported
from streaming.types import (
    SAMPLE_RATE,
    Audio,
    Hypothesis,
    Pressure,
    Priority,
)
from tests.inference.whispers import base_path, job, load_base
from tests.speech import audioeval_clips


@pytest.fixture
async def recognizer() -> AsyncIterator[WhisperRecognizer]:
    recognizer = load_base()
    recognizer.start()
    yield recognizer
    await recognizer.close()


async def test_words_to_favour_are_told_from_context(
    recognizer: WhisperRecognizer, tokens: WhisperTokens
) -> None:
    words = ("Surtitle", "Hermenegildo Zegna Couture")
    row = recognizer._row(
        job(np.zeros(0, dtype=np.float32), vocabulary=words, prompt="word " * 100)
    )
    assert tokens.text(row.prompt[: row.favoured]) == " Surtitle, Hermenegildo Zegna Couture"
    assert len(row.prompt) > row.favoured
    assert recognizer._row(job(np.zeros(0, dtype=np.float32), prompt="word " * 100)).favoured == 0


def test_what_it_is(loaded: WhisperRecognizer) -> None:
    assert (loaded.model, loaded.device) == ("base", "cpu")
    assert loaded.compute_type.startswith("int8")
    assert loaded.translates
    assert loaded.stats.rows == 0


def test_warming_up_runs_the_shortest_and_the_longest_context_and_sizes_the_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recognizer = load_base()
    batches: list[list[int]] = []
    encode = recognizer._engine._encode

    def watched(mels: Any) -> Any:
        batches.append([mel.shape[1] for mel in mels])
        return encode(mels)

    monkeypatch.setattr(recognizer._engine, "_encode", watched)
    assert recognizer.pressure.final_seconds == Pressure().final_seconds
    recognizer.warm_up()
    measured = recognizer.pressure.final_seconds
    assert measured != Pressure().final_seconds
    assert batches[:2] == [[BUCKETS[0]], [FULL]]
    assert {frames for batch in batches[2:] for frames in batch} == {1000}
    assert recognizer.max_batch in {len(batch) for batch in batches}
    found = len(batches)
    recognizer.warm_up()
    assert len(batches) == found + 2, "it is known by now"
    assert recognizer.pressure.final_seconds == measured


async def test_all_model_work_is_off_the_loop(
    recognizer: WhisperRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[str] = set()
    engine = recognizer._engine
    mel = engine.mel

    def watched(audio: Audio, frames: int) -> Any:
        threads.add(threading.current_thread().name)
        return mel(audio, frames)

    monkeypatch.setattr(engine, "mel", watched)
    clips = audioeval_clips("en")
    await asyncio.gather(*(recognizer.recognize(job(c.audio(), c.id)) for c in clips))
    assert threads
    assert all(name.startswith("whisper-base-") for name in threads)
    assert recognizer.stats.rows == len(clips)


async def test_translation_is_english(recognizer: WhisperRecognizer) -> None:
    clip = audioeval_clips("fr")[2]
    heard = await recognizer.recognize(job(clip.audio(), language="fr", task="translate"))
    said = await recognizer.recognize(job(clip.audio(), language="fr"))
    assert heard.language == said.language == "fr"
    assert heard.text != said.text


async def test_decoding_is_as_careful_as_the_load_allows(
    recognizer: WhisperRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    widths: list[int] = []
    generate = recognizer._engine._generate

    def watched(*arguments: Any, **options: Any) -> Any:
        widths.append(options["beam_size"])
        return generate(*arguments, **options)

    monkeypatch.setattr(recognizer._engine, "_generate", watched)
    for wait in (0.0, 0.2, 2.0):
        monkeypatch.setattr(Dispatcher, "pressure", Pressure(wait=wait))
        for priority in Priority:
            await recognizer.recognize(job(audioeval_clips("en")[0].audio(), priority=priority))
    assert widths == [5, 5, 5, 5, 1, 5, 1, 1, 5]


async def test_an_answer_tells_how_long_it_took(recognizer: WhisperRecognizer) -> None:
    heard = await recognizer.recognize(job(audioeval_clips("en")[0].audio()))
    assert heard.timing.queued >= 0
    assert heard.timing.encoded > 0
    assert heard.timing.decoded > 0


async def test_thirty_seconds_are_taken_whole(recognizer: WhisperRecognizer) -> None:
    spoken = np.concatenate([clip.audio() for clip in audioeval_clips("en")])
    audio = np.pad(spoken, (30 * SAMPLE_RATE - len(spoken), 0))
    heard = await recognizer.recognize(job(audio, priority=Priority.OFFLINE, words=True))
    assert "lazy dog" in heard.text
    assert heard.words
    assert 28 < heard.words[-1].end <= 30


async def test_no_numbers_no_audio(recognizer: WhisperRecognizer) -> None:
    with pytest.raises(MediaError):
        await recognizer.recognize(job(np.full(100, np.inf, dtype=np.float32)))


async def test_closing_is_final(recognizer: WhisperRecognizer) -> None:
    await recognizer.close()
    with pytest.raises(ModelUnavailable):
        await recognizer.recognize(job(audioeval_clips("en")[0].audio()))
    await recognizer.close()


@pytest.mark.parametrize("name", ["large-v3-turbo", "distil-large-v3"])
def test_models_not_trained_to_translate_do_not_claim_to(name: str) -> None:
    recognizer = WhisperRecognizer.load(base_path(), name=name, device="cpu")
    assert not recognizer.translates


async def test_an_english_only_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = ModelStore(tmp_path_factory.mktemp("data")).speech("tiny.en").path
    recognizer = WhisperRecognizer.load(path, name="tiny.en", device="cpu")
    assert recognizer.languages == {"en"}
    assert not recognizer.translates
    recognizer.start()
    clip = audioeval_clips("en")[2]
    with pytest.raises(PairUnsupported):
        await recognizer.recognize(job(clip.audio(), task="translate"))
    ask = job(clip.audio(), language=None, words=True, vocabulary=("Surtitle",))
    for heard in (await recognizer.recognize(ask), await recognizer.recognize(job(clip.audio()))):
        assert isinstance(heard, Hypothesis)
        assert heard.language == "en"
        assert normalize(heard.text, "en") == normalize(clip.text or "", "en")
    await recognizer.close()


@pytest.mark.timeout(120)
def test_a_process_with_both_models_ends() -> None:
    """CTranslate2 and ONNX Runtime in one process have been seen to hang at exit."""
    code = """
import asyncio, sys
from pathlib import Path
import numpy as np
from inference.silero import SileroDetector
from inference.whisper import WhisperRecognizer
from streaming.types import Priority, RecognitionJob

async def main():
    detector = SileroDetector.load(gate=None)
    recognizer = WhisperRecognizer.load(Path(sys.argv[1]), name="base", device="cpu")
    detector.start()
    recognizer.start()
    noise = np.random.default_rng(0).normal(0, 0.01, 16000).astype(np.float32)
    await detector.open().detect(noise[:15872].reshape(-1, 512))
    await recognizer.recognize(RecognitionJob("s", 1, 1, noise, Priority.FINAL, language="en"))
    await recognizer.close()
    await detector.close()
    print("closed")

asyncio.run(main())
"""
    shown = subprocess.run(
        [sys.executable, "-c", code, str(base_path())],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert shown.stdout.strip() == "closed"
