"""The machine a benchmark ran on, and how long a recogniser's encoder takes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inference.whisper import physical_cores
from inference.whisper_engine import WhisperEngine


def machine() -> dict[str, Any]:
    """What it ran on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    versions = {
        name: importlib.metadata.version(name) for name in ("ctranslate2", "faster-whisper")
    }
    return {
        "cpu": model,
        "cores": physical_cores(),
        "logical": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


class EncoderMeter:
    """Counts what an engine's encoder is given, and the processor time it takes."""

    def __init__(self, engine: WhisperEngine) -> None:
        self.frames = 0
        self.seconds = 0.0
        self._encode = engine._encode  # noqa: SLF001 - measured where it happens
        engine._encode = self  # type: ignore[method-assign]  # noqa: SLF001 - same

    def __call__(self, mels: Sequence[Any]) -> Any:
        self.frames += sum(mel.shape[1] for mel in mels)
        before = time.process_time()
        encoded = self._encode(mels)
        np.array(encoded)  # waits for a result that is still being computed
        self.seconds += time.process_time() - before
        return encoded
