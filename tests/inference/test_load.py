"""What is asked of the recogniser, as the limits see it."""

from __future__ import annotations

import pytest

from inference.load import LoadMeter
from streaming.types import Priority
from tests.inference.shouts import Job


def speak(meter: LoadMeter, *sessions: str, begin: float, end: float, cost: float) -> None:
    """Somebody speaks: a final each second, which takes ``cost`` seconds."""
    now = begin
    while now < end:
        for session in sessions:
            job = Job("x", session=session, priority=Priority.FINAL)
            meter.asked(job, now)
            meter.began(job, now, 0.0)
            meter.ended([job], now, now + cost)
        now += 1.0


def test_strain_is_what_finals_take_of_the_workers() -> None:
    meter = LoadMeter()
    speak(meter, "ana", "ben", begin=0, end=60, cost=0.2)
    assert meter.strain(60, workers=1) == pytest.approx(0.4, rel=0.1)
    assert meter.strain(60, workers=2) == pytest.approx(0.2, rel=0.1)
    assert meter.pressure(60, workers=2).speakers == 2
    assert meter.strain(80, workers=1) == 0


def test_a_new_speaker_counts_as_if_they_had_spoken_for_long() -> None:
    meter = LoadMeter()
    speak(meter, "ana", begin=0, end=6, cost=0.2)
    assert meter.strain(6, workers=1) == pytest.approx(0.2, rel=0.1)


def test_who_speaks_and_had_no_final_is_starting() -> None:
    meter = LoadMeter()
    meter.asked(Job("x", session="ana", priority=Priority.PARTIAL), 0.0)
    meter.asked(Job("x", session="file", priority=Priority.OFFLINE), 0.0)
    pressure = meter.pressure(1.0, workers=2)
    assert (pressure.starting, pressure.speakers, pressure.strain) == (1, 0, 0.0)
    speak(meter, "ana", begin=2, end=3, cost=0.2)
    pressure = meter.pressure(4.0, workers=2)
    assert (pressure.starting, pressure.speakers) == (0, 1)
    pressure = meter.pressure(40.0, workers=2)
    assert (pressure.starting, pressure.speakers) == (0, 0)


def test_a_batch_is_shared_by_its_rows() -> None:
    meter = LoadMeter()
    jobs = [
        Job("x", session="ana", priority=Priority.FINAL),
        Job("x", session="ben", priority=Priority.FINAL),
        Job("x", session="ben", priority=Priority.PARTIAL),
    ]
    meter.ended(jobs, 0.0, 3.0)
    assert meter.strain(3.0, workers=1) == pytest.approx(2 / 15)


def test_who_sends_faster_than_speech_counts_as_who_speaks() -> None:
    """They take all there is, and less as soon as others want it."""
    meter = LoadMeter(length=lambda _job: 5.0)
    for segment in range(40):
        job = Job("x", session="file", segment=segment)
        at = segment / 4
        meter.asked(job, at)
        meter.ended([job], at, at + 0.25)
    assert meter.strain(10.0, workers=1) == pytest.approx(0.25 / 5, rel=0.1)


def test_what_a_live_speaker_said_before_the_window_does_not_make_them_cheaper() -> None:
    """Two finals of ten seconds each came within fifteen seconds: the first had begun before."""
    meter = LoadMeter(length=lambda _job: 10.0)
    for segment, at in enumerate((10.0, 20.0, 30.0)):
        job = Job("x", session="ana", segment=segment)
        meter.asked(job, at - 10.0)
        meter.ended([job], at, at + 0.6)
    assert meter.strain(34.0, workers=1) == pytest.approx(2 * 0.6 / 15, rel=0.01)


def test_a_final_that_is_begun_again_is_not_more_audio() -> None:
    meter = LoadMeter(length=lambda _job: 5.0)
    for now in range(10):
        job = Job("x", session="ana", segment=0)
        meter.asked(job, now)
        meter.ended([job], now, now + 0.5)
    assert meter.strain(10.0, workers=1) == pytest.approx(0.5, rel=0.1)


def test_who_has_gone_counts_for_what_they_took() -> None:
    meter = LoadMeter()
    speak(meter, "ana", begin=0, end=3, cost=0.5)
    assert meter.strain(3, workers=1) == pytest.approx(1.5 / 5, rel=0.1)
    assert meter.strain(9, workers=1) == pytest.approx(1.5 / 15, rel=0.1)
