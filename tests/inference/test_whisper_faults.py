"""Faults of a real speech model: a replica that hangs in it, memory that runs out."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from bench.corpus import Clip
from inference.rows import Backend
from inference.whisper import WhisperRecognizer
from inference.whisper_engine import WhisperEngine
from inference.whisper_rows import Row
from streaming.errors import RecognitionFailed, SurtitleError
from streaming.types import Hypothesis, Priority, RecognitionJob
from tests.clock import Clock
from tests.inference.whispers import load_base
from tests.speech import audioeval_clips


class HangsOnce:
    """A real replica; the first call with the chosen session never comes back by itself."""

    def __init__(self, engine: Backend[Row, Hypothesis], session: str) -> None:
        self.engine, self.session = engine, session
        self.entered, self.release = threading.Event(), threading.Event()

    def run(self, rows: Sequence[Row]) -> Sequence[Hypothesis | SurtitleError]:
        if not self.entered.is_set() and any(row.session == self.session for row in rows):
            self.entered.set()
            assert self.release.wait(120)
        return self.engine.run(rows)


@pytest.fixture
async def recognizer() -> AsyncIterator[WhisperRecognizer]:
    recognizer = load_base(replicas=2)
    recognizer.beam_size = 1  # else it depends on the load
    yield recognizer
    await recognizer.close()


def asked(clip: Clip, session: str) -> RecognitionJob:
    return RecognitionJob(session, 1, 1, clip.audio(), Priority.FINAL, language="en")


async def test_a_replica_that_hangs_is_replaced_and_nobody_loses_a_word(
    recognizer: WhisperRecognizer,
) -> None:
    clips = audioeval_clips("en")[:4]
    engine = recognizer._engine
    expected = [await _alone(engine, recognizer, clip) for clip in clips]
    crew, clock = recognizer._dispatcher._crew, Clock()
    crew._clock = clock
    wrapped = HangsOnce(engine, "2")
    for worker in crew._workers:
        worker.backend = worker.home = wrapped
    recognizer.start()
    jobs = [asked(clip, str(number)) for number, clip in enumerate(clips)]
    tasks = [asyncio.create_task(recognizer.recognize(job)) for job in jobs]
    assert await asyncio.to_thread(wrapped.entered.wait, 60)
    others = [task for number, task in enumerate(tasks) if number != 2]
    await asyncio.gather(*others)
    assert not tasks[2].done()
    while not recognizer.stats.staff.hung:  # and no further: what is done once more takes its time
        clock.now += 0.5
        crew.look()
    texts = [hypothesis.text for hypothesis in await asyncio.gather(*tasks)]
    assert texts == expected
    staff = recognizer.stats.staff
    assert (staff.hung, staff.restarts, staff.abandoned, staff.retried) == (1, 1, 1, 1)
    await _until_equipped(recognizer)
    replaced = crew._workers[-1].backend
    assert isinstance(replaced, WhisperEngine)
    assert replaced._model is not engine._model
    again = await asyncio.gather(*(recognizer.recognize(job) for job in jobs))
    assert [hypothesis.text for hypothesis in again] == expected
    weights = weakref.ref(replaced._model)
    del replaced
    wrapped.release.set()
    while recognizer.stats.staff.abandoned:  # noqa: ASYNC110 - a thread that ends tells nobody
        await asyncio.sleep(0)
    again = await asyncio.gather(*(recognizer.recognize(job) for job in jobs))
    assert [hypothesis.text for hypothesis in again] == expected
    assert weights() is None, "what took its place is not needed any more"


async def test_memory_that_runs_out_for_a_batch_costs_no_row(
    recognizer: WhisperRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, sizes = recognizer._engine, []
    encode = engine._encode

    def little(mels: Sequence[Any]) -> Any:
        sizes.append(len(mels))
        if len(mels) > 1:
            raise RuntimeError("CUDA failed with error out of memory")
        return encode(mels)

    clips = audioeval_clips("en")[:3]
    expected = [await _alone(engine, recognizer, clip) for clip in clips]
    monkeypatch.setattr(engine, "_encode", little)
    # One worker only, so that they share a batch; equal lengths of context, so that they may.
    recognizer._dispatcher.max_batch = 8
    rows = [recognizer._row(asked(clip, clip.id)) for clip in clips]
    bucket = max(row.bucket for row in rows)
    for row in rows:
        row.bucket = bucket
    tasks = [asyncio.create_task(recognizer._dispatcher.submit(row)) for row in rows]
    await asyncio.sleep(0)
    recognizer.start()
    answers = await asyncio.gather(*tasks)
    assert [_words(answer.text) for answer in answers] == [_words(text) for text in expected]
    assert max(sizes) > 1
    assert recognizer.stats.staff.out_of_memory >= 1


async def test_a_model_loaded_anew_says_the_same(recognizer: WhisperRecognizer) -> None:
    clip = audioeval_clips("en")[0]
    before = await _alone(recognizer._engine, recognizer, clip)
    unloaded, model = [], recognizer._engine._model
    load = model.load_model

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

        def load_model(self) -> None:
            unloaded.append(not model.model_is_loaded)
            load()

    recognizer._engine._model = Watched()
    assert recognizer._engine.reload()
    assert unloaded == [True]
    assert await _alone(recognizer._engine, recognizer, clip) == before


async def test_a_model_that_could_not_be_loaded_is_when_there_is_memory_again(
    recognizer: WhisperRecognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, clip = recognizer._engine, audioeval_clips("en")[0]
    before = await _alone(engine, recognizer, clip)

    class Full:
        def __init__(self, model: Any) -> None:
            self._model = model

        def __getattr__(self, name: str) -> Any:
            return getattr(self._model, name)

        def load_model(self) -> None:
            raise RuntimeError("std::bad_alloc")

    full = Full(engine._model)
    monkeypatch.setattr(engine, "_model", full)
    with pytest.raises(RuntimeError, match="bad_alloc"):
        engine.reload()
    recognizer.start()
    with pytest.raises(RecognitionFailed):
        await recognizer.recognize(asked(clip, "full"))
    monkeypatch.setattr(engine, "_model", full._model)
    assert (await recognizer.recognize(asked(clip, "room"))).text == before


async def _alone(engine: WhisperEngine, recognizer: WhisperRecognizer, clip: Clip) -> str:
    """What the model hears when nothing else runs."""
    row = recognizer._row(asked(clip, clip.id))
    (answer,) = await asyncio.to_thread(engine.run, [row])
    assert isinstance(answer, Hypothesis)
    return answer.text


async def _until_equipped(recognizer: WhisperRecognizer) -> None:
    while recognizer.stats.staff.working < recognizer.replicas:  # noqa: ASYNC110 - loading has no event
        await asyncio.sleep(0)


def _words(text: str) -> list[str]:
    return text.lower().strip(" .").split()
