from __future__ import annotations

import os

import pytest

from bench.processes import Others, Sample, Sampler, load, niceness, pairs, slope


def test_cores_are_processor_seconds_a_second() -> None:
    samples = [
        Sample(10, 5, 1, 100, 300),
        Sample(12, 6, 1, 101, 320),
        Sample(14, 8, 1.2, 105, 310),
    ]
    assert load(samples) == {
        "server_cores": 0.75,
        "client_cores": 0.05,
        "other_cores": 0.45,
        "memory_mib": 310,
        "memory_max_mib": 320,
    }
    assert load(samples[:1]) == {}


@pytest.mark.parametrize(
    ("points", "expected"),
    [([(0.0, 5.0), (1.0, 7.0), (2.0, 9.0)], 2.0), ([(0.0, 1.0), (1.0, 1.0)], 0.0)],
)
def test_growth_is_the_slope_of_a_line(points: list[tuple[float, float]], expected: float) -> None:
    assert slope(points) == pytest.approx(expected)


def test_one_point_has_no_slope() -> None:
    assert slope([(1.0, 1.0)]) is None
    assert slope([(1.0, 1.0), (1.0, 2.0)]) is None


def test_processes_are_really_read() -> None:
    with Sampler(os.getppid(), os.getpid(), every=0.01) as sampler:
        while len(sampler.samples) < 2:
            sum(range(10_000))
    first, last = sampler.samples[0], sampler.samples[-1]
    assert first.memory > 0
    assert last.everything >= last.clients > 0
    assert sampler.between(first.time, first.time) == [first]
    assert Others(os.getppid()).cores() >= 0
    assert niceness(os.getpid()) == os.nice(0)


def test_variables_are_read_from_a_command_line() -> None:
    assert pairs(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
