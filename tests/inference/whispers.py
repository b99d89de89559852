"""One loaded Whisper for all tests of a run: loading and joining it takes seconds."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from inference.models import ModelStore
from inference.whisper import WhisperRecognizer


@cache
def base_path() -> Path:
    """The folder of the default model, made for this run."""
    folder = Path(tempfile.mkdtemp(prefix="surtitle-models-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return ModelStore(folder).speech("base").path


def load_base(replicas: int | None = None) -> WhisperRecognizer:
    """A recogniser of the default model, to be started and closed by the test."""
    return WhisperRecognizer.load(base_path(), name="base", device="cpu", replicas=replicas)
