"""How late audio is listened to."""

from __future__ import annotations

import pytest

from streaming.lag import Lag


def test_lag_is_how_long_ago_the_audio_came_that_is_not_heard_yet() -> None:
    lag = Lag()
    for tick in range(100):
        assert lag.note(50 + tick / 10, 1600 * tick, 0.0) == 0.0
    assert lag.note(60.0, 160_000, 6.0) == pytest.approx(0.0)
    for tick in range(1, 31):
        late = lag.note(60 + tick / 10, 160_000 + 1600 * tick, 6.0 + tick / 10)
    assert late == pytest.approx(3.0, abs=0.2)


def test_who_sends_faster_than_speech_does_not_lag() -> None:
    lag = Lag()
    assert all(lag.note(50 + tick, 80_000 * tick, 5.0 * tick) == 0.0 for tick in range(20))
