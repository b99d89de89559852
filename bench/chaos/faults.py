"""What can go wrong with a speech model, made to go wrong when asked.

For servers that are started by :mod:`bench.chaos.broken` only.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from inference.whisper_engine import WhisperEngine
from inference.whisper_rows import Row
from streaming.errors import SurtitleError
from streaming.types import Hypothesis

Kind = Literal["raise", "memory", "die", "hang"]


class WorkerDies(BaseException):
    """Nothing that a worker catches: its thread ends."""


@dataclass(slots=True, eq=False)
class ModelFaults:
    """Goes wrong the next few times the model runs. Used by all worker threads."""

    _kind: Kind | None = None
    _times: int = 0
    _seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _released: threading.Event = field(default_factory=threading.Event)
    injected: int = 0
    """How often it has gone wrong."""
    hurried: bool = False
    """Whether everything is decoded as it is when there is much to do: greedily."""

    def arm(self, kind: Kind, *, times: int = 1, seconds: float = 0.0) -> None:
        """Let the next ``times`` runs fail; ``hang`` lasts ``seconds``."""
        with self._lock:
            self._kind, self._times, self._seconds = kind, times, seconds
            self._released.clear()

    def release(self) -> None:
        """Nothing goes wrong any more, and what hangs goes on."""
        with self._lock:
            self._times = 0
        self._released.set()

    def strike(self) -> None:
        """Called in a worker before the model runs."""
        with self._lock:
            if not self._times:
                return
            self._times -= 1
            self.injected += 1
            kind, seconds = self._kind, self._seconds
        if kind == "hang":
            self._released.wait(seconds)
        elif kind == "memory":
            raise MemoryError("made up: out of memory")
        elif kind == "die":
            raise WorkerDies("made up: the thread dies")
        else:
            raise RuntimeError("made up: the model failed")

    def install(self) -> None:
        """Put it before every run of every Whisper engine of this process."""
        real = WhisperEngine.run

        def run(engine: WhisperEngine, rows: Sequence[Row]) -> Sequence[Hypothesis | SurtitleError]:
            self.strike()
            if self.hurried:
                rows = [replace(row, beam=1) for row in rows]
            return real(engine, rows)

        changed: Any = WhisperEngine
        changed.run = run
