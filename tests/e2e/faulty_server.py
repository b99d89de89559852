"""The real server with real models, one of whose workers hangs when told to by SIGUSR1."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from app.server import leave, serve
from app.services import Services, build_services
from app.settings import Settings, load
from inference.rows import Backend
from inference.whisper import WhisperRecognizer
from inference.whisper_engine import Row
from streaming.errors import SurtitleError
from streaming.types import Hypothesis

told = threading.Event()


class Hanging:
    """A replica whose next call with a final never comes back, once it is told to hang."""

    def __init__(self, engine: Backend[Row, Hypothesis]) -> None:
        self._engine = engine

    def run(self, rows: Sequence[Row]) -> Sequence[Hypothesis | SurtitleError]:
        if told.is_set() and rows[0].final:
            told.clear()
            print("hangs", flush=True)
            threading.Event().wait()
        return self._engine.run(rows)


async def build(settings: Settings, say: Callable[[str], None]) -> Services:
    services = await build_services(settings, say)
    assert isinstance(services.recognizer, WhisperRecognizer)
    crew = services.recognizer._dispatcher._crew
    for worker in crew._workers:
        worker.backend = Hanging(worker.backend)
    return services


signal.signal(signal.SIGUSR1, lambda *_: told.set())
leave(serve(load(), say=lambda line: print(line, flush=True), build=build))
