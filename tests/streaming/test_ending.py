"""However a session ends, everything said is final before, and the end is told."""

from __future__ import annotations

import pytest

from inference.fakes import FakeContainerDecoder, silence
from streaming import wire
from streaming.errors import BrokenStream, InternalError
from tests.streaming.harness import Harness, s16, speech


def test_a_server_that_leaves_for_good_says_done() -> None:
    harness = Harness()
    harness.start(source="en", targets=["pt"])
    harness.send(s16(speech("alpha bravo")[:20_000]))
    harness.session.leave(complete=True)
    harness.pump()
    harness.settle()
    assert harness.texts
    assert isinstance(harness.events[-1], wire.DoneEvent)
    assert harness.closed is not None
    assert harness.closed.code == 1012


@pytest.mark.parametrize("complete", [True, False])
def test_a_session_that_was_not_begun_just_closes(complete: bool) -> None:
    harness = Harness()
    harness.session.leave(complete=complete)
    harness.pump()
    assert harness.events == []
    assert harness.closed is not None
    assert harness.closed.code == 1012


def test_a_broken_container_finalises_what_was_heard() -> None:
    harness = Harness()
    harness.start(encoding="opus", source="en")
    harness.send(FakeContainerDecoder.wrap(silence(0)))
    harness.session.receive_samples(speech("alpha bravo", gap=0))
    harness.session.receive_decoding_failure(BrokenStream("torn"))
    harness.pump()
    harness.settle()
    assert harness.texts == ["alpha bravo"]
    assert harness.codes == ["invalid_audio"]
    assert harness.closed is not None
    assert harness.closed.code == 4400


def test_a_fault_of_ours_ends_at_once() -> None:
    harness = Harness()
    harness.start(source="en")
    harness.speak("alpha")
    harness.session.fail(InternalError("broken"))
    harness.pump()
    assert harness.codes == ["internal_error"]
    assert harness.closed is not None
    assert harness.closed.code == 4500
