from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from bench.chaos.faults import Kind, ModelFaults, WorkerDies
from inference.whisper_engine import WhisperEngine
from inference.whisper_rows import Row
from streaming.types import Priority, RecognitionJob


@pytest.mark.parametrize(
    ("kind", "error"), [("raise", RuntimeError), ("memory", MemoryError), ("die", WorkerDies)]
)
def test_it_strikes_as_often_as_it_was_told(kind: Kind, error: type[BaseException]) -> None:
    faults = ModelFaults()
    faults.strike()
    faults.arm(kind, times=2)
    for _ in range(2):
        with pytest.raises(error):
            faults.strike()
    faults.strike()
    assert faults.injected == 2


def test_no_except_clause_of_a_worker_catches_its_death() -> None:
    assert not issubclass(WorkerDies, Exception)


def test_what_hangs_goes_on_when_it_is_released() -> None:
    faults = ModelFaults()
    faults.arm("hang", seconds=60)
    worker = threading.Thread(target=faults.strike)
    worker.start()
    while faults.injected == 0:
        pass
    assert worker.is_alive()
    faults.release()
    worker.join(timeout=10)
    assert not worker.is_alive()


def test_what_is_released_does_not_strike() -> None:
    faults = ModelFaults()
    faults.arm("raise", times=3)
    faults.release()
    faults.strike()
    assert faults.injected == 0


def test_who_is_hurried_decodes_greedily_and_only_then(monkeypatch: pytest.MonkeyPatch) -> None:
    beams: list[list[int]] = []

    def run(_engine: WhisperEngine, rows: Sequence[Row]) -> list[None]:
        beams.append([row.beam for row in rows])
        return [None for _ in rows]

    monkeypatch.setattr(WhisperEngine, "run", run)
    faults = ModelFaults()
    faults.install()
    job = RecognitionJob(
        session="s",
        segment=0,
        revision=0,
        audio=np.zeros(0, np.float32),
        priority=Priority.FINAL,
        language="en",
    )
    engine = object.__new__(WhisperEngine)
    rows = [Row(job, 1000, beam=5), Row(job, 1000, beam=5)]
    engine.run(rows)
    faults.hurried = True
    engine.run(rows)
    assert beams == [[5, 5], [1, 1]]
