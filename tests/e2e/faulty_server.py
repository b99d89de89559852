"""The real server with real models, one of whose workers hangs when told to by SIGUSR1."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.server import leave, serve
from app.settings import load
from inference.whisper_engine import WhisperEngine
from inference.whisper_rows import Row
from streaming.errors import SurtitleError
from streaming.types import Hypothesis

told = threading.Event()


answer = WhisperEngine.run


def run(engine: WhisperEngine, rows: Sequence[Row]) -> Sequence[Hypothesis | SurtitleError]:
    """As ever; but once it is told to hang, the next call with a final never comes back."""
    if told.is_set() and rows[0].final:
        told.clear()
        print("hangs", flush=True)
        threading.Event().wait()
    return answer(engine, rows)


WhisperEngine.run = run  # type: ignore[assignment, method-assign] # to break it
signal.signal(signal.SIGUSR1, lambda *_: told.set())
leave(serve(load(), say=lambda line: print(line, flush=True)))
