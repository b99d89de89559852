"""What a client does wrong is told, and costs nothing of what was said."""

from __future__ import annotations

import pytest

from streaming import wire
from streaming.session_config import SessionConfig
from tests.streaming.harness import Harness


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (b"{", "invalid_json"),
        (b"\xff\xfe", "invalid_json"),
        (b"[1]", "invalid_message"),
        (b'{"type": 7}', "invalid_message"),
        (b"{}", "invalid_message"),
        (b'{"type": "dance"}', "unknown_type"),
        (b'{"type": "finalize"}', "not_started"),
        (b'{"type": "stop"}', "not_started"),
        (b'{"type": "configure", "interim": true}', "not_started"),
        (b'{"type": "start", "sample_rate": "16k"}', "invalid_message"),
        (b'{"type": "start", "sample_rate": 1000}', "unsupported_sample_rate"),
        (b'{"type": "start", "channels": 0}', "unsupported_channels"),
        (b'{"type": "start", "encoding": "smoke"}', "unsupported_encoding"),
        (b'{"type": "start", "source": "tlh"}', "unknown_language"),
        (b'{"type": "start", "targets": ["pt", "tlh"]}', "unknown_language"),
        (b'{"type": "start", "endpoint_ms": 1}', "invalid_message"),
        (b'{"type": "start", "resume": {"token": "x", "received_seq": 1}}', "resume_unknown"),
        (b'{"type": "start", "vocabulary": [""]}', "invalid_message"),
    ],
)
def test_bad_messages_are_told_and_leave_the_session_as_it_was(message: bytes, code: str) -> None:
    harness = Harness()
    harness.session.receive_text(message)
    harness.pump()
    assert harness.codes == [code]
    assert not harness.of(wire.ErrorEvent)[0].fatal
    harness.start(source="en", future_field={"ignored": True})
    harness.speak("alpha")
    harness.settle()
    assert harness.texts == ["alpha"]


def test_audio_before_start_is_told_once() -> None:
    harness = Harness()
    for _ in range(10):
        harness.send(b"\0" * 640)
    assert harness.codes == ["not_started"]


def test_start_twice_and_anything_after_stop() -> None:
    harness = Harness()
    harness.start(source="en")
    harness.start(source="pt")
    harness.speak("alpha")
    harness.say(type="stop")
    harness.send(b"\0\0")
    harness.say(type="stop")
    assert harness.codes == ["already_started", "already_stopped", "already_stopped"]
    harness.settle()
    assert harness.texts == ["alpha"]


def test_a_message_that_is_too_large_ends_with_what_was_said() -> None:
    harness = Harness(SessionConfig(max_message_bytes=200_000))
    harness.start(source="en")
    harness.speak("alpha bravo")
    harness.send(b"\0" * 200_001)
    harness.settle()
    assert harness.texts == ["alpha bravo"]
    assert harness.codes == ["message_too_large"]
    assert harness.closed is not None
    assert harness.closed.code == 4413


def test_too_many_errors_end_the_session() -> None:
    harness = Harness(SessionConfig(max_errors=5))
    for _ in range(9):
        harness.say(type="dance")
    assert harness.codes == ["unknown_type"] * 5 + ["too_many_errors"]
    assert harness.closed is not None


def test_a_room_is_refused_with_a_warning() -> None:
    harness = Harness()
    harness.start(source="en", room="hall")
    assert [warning.code for warning in harness.of(wire.WarningEvent)] == ["room_unavailable"]


def test_keepalive_says_nothing() -> None:
    harness = Harness()
    harness.say(type="keepalive")
    harness.start(source="en")
    harness.say(type="keepalive")
    assert [type(event) for event in harness.events] == [wire.ReadyEvent]
