"""A loaded model for the tests that need no running workers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from inference.whisper import WhisperRecognizer
from inference.whisper_engine import WhisperEngine
from inference.whisper_tokens import WhisperTokens
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
