"""Audio that may have to be sent again: nothing twice without need, and nothing lost in silence."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.cli.replay import IDLE, KEPT, LEAD_IN, Replay

RATE = 200
"""Bytes a second: a hundred samples of two bytes."""


def recorded(seconds: float) -> bytes:
    """Bytes that tell their place."""
    return b"".join(number.to_bytes(2, "little") for number in range(int(seconds * RATE / 2)))


def started(at: float) -> dict[str, Any]:
    return {"type": "speech_started", "at": at}


def final(end: float) -> dict[str, Any]:
    return {"type": "final", "end": end}


def everything(replay: Replay) -> bytes:
    return replay.take(1 << 30)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), max_size=30))
def test_what_is_taken_is_what_was_added(turns: list[tuple[int, int]]) -> None:
    data = recorded(KEPT)
    replay = Replay(RATE)
    taken = b""
    at = 0
    for added, most in turns:
        replay.add(data[at : at + added])
        at += len(data[at : at + added])
        taken += replay.take(most)
    assert taken == data[: len(taken)]
    assert taken + everything(replay) == data[:at]
    assert replay.lost == 0


@given(received=st.integers(0, 3000), sent=st.integers(0, 2000))
def test_a_session_goes_on_from_where_the_server_says(received: int, sent: int) -> None:
    data = recorded(10)
    replay = Replay(RATE)
    replay.add(data)
    replay.take(sent)
    if replay.go_on(received):
        assert everything(replay) == data[received:]
    else:
        assert received > len(data)
        assert everything(replay) == data[sent:]


def test_what_is_too_old_can_not_be_gone_on_with() -> None:
    replay = Replay(RATE)
    replay.add(recorded(KEPT + 10))
    assert replay.lost == 10 * RATE, "it was never sent, and that is counted"
    assert not replay.go_on(9 * RATE)
    assert replay.go_on(11 * RATE)


def test_what_was_sent_is_not_lost_when_it_is_forgotten() -> None:
    replay = Replay(RATE)
    replay.add(recorded(KEPT))
    everything(replay)
    replay.add(recorded(10))
    assert replay.lost == 0


def test_a_new_session_hears_what_no_final_covers() -> None:
    data = recorded(20)
    replay = Replay(RATE)
    replay.add(data)
    everything(replay)
    replay.heard(started(3.0))
    replay.heard({"type": "speech_ended"})
    replay.heard(final(5.0))
    replay.heard(started(12.0))
    replay.begin_anew()
    assert everything(replay) == data[int((12.0 - LEAD_IN) * RATE) :]


def test_of_an_utterance_that_was_cut_the_rest_is_heard_again() -> None:
    data = recorded(20)
    replay = Replay(RATE)
    replay.add(data)
    everything(replay)
    replay.heard(started(3.0))
    replay.heard(final(14.0))
    replay.begin_anew()
    assert everything(replay) == data[14 * RATE :]


def test_a_new_session_hears_little_of_mere_silence() -> None:
    data = recorded(20)
    replay = Replay(RATE)
    replay.add(data)
    everything(replay)
    replay.begin_anew()
    assert everything(replay) == data[-int(IDLE * RATE) :]


def test_what_was_never_sent_is_sent_in_any_case() -> None:
    data = recorded(20)
    replay = Replay(RATE)
    replay.add(data)
    replay.take(5 * RATE)
    replay.begin_anew()
    assert everything(replay) == data[5 * RATE :]


def test_places_in_a_new_session_count_from_its_own_beginning() -> None:
    data = recorded(20)
    replay = Replay(RATE)
    replay.add(data)
    replay.take(10 * RATE)
    replay.heard({"type": "done", "audio_seconds": 8.0})
    replay.begin_anew()
    assert replay.origin == 8 * RATE
    replay.heard(started(2.0))
    assert replay.go_on(RATE)
    assert everything(replay) == data[9 * RATE :]
    replay.begin_anew()
    assert everything(replay) == data[int((8 + 2 - LEAD_IN) * RATE) :]
