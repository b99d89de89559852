from __future__ import annotations

import pytest

from inference import calibration
from inference.calibration import (
    Measured,
    arrangements,
    best_batch,
    recommended,
    throughput,
    timed,
)


class Machine:
    """Takes a time for a batch, by its own clock."""

    def __init__(self, fixed: float, each: float) -> None:
        self.fixed, self.each = fixed, each
        self.now = 0.0
        self.sizes: list[int] = []

    def monotonic(self) -> float:
        return self.now

    def work(self, rows: int) -> None:
        self.sizes.append(rows)
        self.now += self.fixed + rows * self.each


@pytest.mark.parametrize(
    ("fixed", "each", "expected"),
    [
        (0.0, 0.1, 1),  # company gains nothing
        (0.1, 0.1, 4),  # it does, until it takes too long
        (0.05, 0.001, 32),  # a GPU
        (2.0, 0.1, 1),  # too slow in any case
    ],
)
def test_the_best_batch(
    monkeypatch: pytest.MonkeyPatch, fixed: float, each: float, expected: int
) -> None:
    machine = Machine(fixed, each)
    monkeypatch.setattr(calibration, "time", machine)
    assert best_batch(machine.work, timed(machine.work, 1)) == expected


def test_throughput_counts_rows() -> None:
    sizes: list[int] = []
    found = throughput(sizes.append, workers=2, threads=1, batch=4, seconds=0.05)
    assert set(sizes) == {4}
    assert found.rows_per_second > 0
    assert (found.workers, found.threads, found.batch) == (2, 1, 4)


def test_arrangements_use_all_cores() -> None:
    assert arrangements(4) == [(1, 4), (2, 2), (4, 1)]
    assert arrangements(1) == [(1, 1)]


def test_recommended_is_the_fastest_that_keeps_nobody_waiting() -> None:
    slow = Measured(2, 1, 8, 12.0, 1.4)
    good = Measured(2, 1, 2, 10.0, 0.4)
    assert recommended([Measured(1, 2, 1, 6.0, 0.16), good, slow]) is good
    assert recommended([slow]) is slow
