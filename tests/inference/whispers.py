"""The default model for all tests of a run, since joining it takes seconds, and jobs for it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from inference.models import ModelStore
from inference.whisper import WhisperRecognizer
from streaming.types import Audio, Priority, RecognitionJob


@cache
def base_path() -> Path:
    """The folder of the default model, made for this run."""
    folder = Path(tempfile.mkdtemp(prefix="surtitle-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return ModelStore(folder).speech("base").path


def load_base(replicas: int | None = None) -> WhisperRecognizer:
    """A recogniser of the default model, to be started and closed by the test."""
    return WhisperRecognizer.load(base_path(), name="base", device="cpu", replicas=replicas)


def job(audio: Audio, session: str = "s", **changes: Any) -> RecognitionJob:
    """A final of English speech, unless something else is wanted."""
    given: dict[str, Any] = {"priority": Priority.FINAL, "language": "en"} | changes
    return RecognitionJob(session, 1, 1, audio, **given)
