"""A loaded model for the tests that need no running workers, and workers that hang and die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from inference.batching import BatchQueue
from inference.dispatcher import Dispatcher
from inference.rows import Backend
from inference.supervision import Fault, Supervision
from inference.whisper import WhisperRecognizer
from inference.whisper_engine import WhisperEngine
from inference.whisper_tokens import WhisperTokens
from streaming.errors import RecognitionFailed
from tests.clock import Clock
from tests.inference.hospital import POLICY, Hospital, Model, Staffed
from tests.inference.shouts import Job
from tests.inference.whispers import load_base


@pytest.fixture(scope="module")
def loaded() -> Iterator[WhisperRecognizer]:
    recognizer = load_base()
    yield recognizer
    asyncio.run(recognizer.close())


@pytest.fixture(scope="module")
def engine(loaded: WhisperRecognizer) -> WhisperEngine:
    return loaded._engine


@pytest.fixture(scope="module")
def tokens(loaded: WhisperRecognizer) -> WhisperTokens:
    return loaded._tokens


@pytest.fixture
def hospital() -> Hospital:
    Model.made = 0
    return Hospital()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def staffed(hospital: Hospital, clock: Clock) -> AsyncIterator[Staffed]:
    """Builds dispatchers whose workers are models of the hospital."""
    made: list[Dispatcher[Job, str]] = []

    def build(
        replicas: int = 1,
        *,
        renew: Callable[[Backend[Job, str], Fault], Backend[Job, str]] | None = None,
        policy: Supervision = POLICY,
        max_batch: int = 4,
    ) -> Dispatcher[Job, str]:
        dispatcher: Dispatcher[Job, str] = Dispatcher(
            name="model",
            backends=[Model(hospital) for _ in range(replicas)],
            queue=BatchQueue(group=lambda _job: 0, patience=0.0),
            max_batch=max_batch,
            failure=RecognitionFailed,
            clock=clock,
            renew=renew or (lambda _backend, _fault: Model(hospital, mortal=False)),
            supervision=policy,
        )
        made.append(dispatcher)
        return dispatcher

    yield build
    hospital.release.set()
    for dispatcher in made:
        await dispatcher.close()
