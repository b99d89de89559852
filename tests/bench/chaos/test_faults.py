from __future__ import annotations

import threading

import pytest

from bench.chaos.faults import Kind, ModelFaults, WorkerDies


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
