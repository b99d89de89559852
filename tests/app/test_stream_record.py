"""What another process finds of a stream's events."""

from __future__ import annotations

import pytest

from app.stream_record import history
from guards.resume import Kept
from streaming.errors import ResumeUnknown
from streaming.history import MAX_KEPT

KEPT = Kept(epoch=2, state=b"", last=7, events=[(5, b"5"), (6, b"6"), (7, b"7")])


def test_a_client_that_lacks_events_gets_those_that_were_kept() -> None:
    found = history(KEPT, 5)
    assert found.after(5) == [(6, b"6"), (7, b"7")]
    assert found.last == 7
    assert not found.follows(3)


@pytest.mark.parametrize("received", [8, 7 + MAX_KEPT])
def test_a_client_that_was_sent_more_than_was_kept_is_believed(received: int) -> None:
    found = history(KEPT, received)
    assert found.last == received
    assert found.follows(received)
    assert found.after(received) == []


def test_a_client_cannot_have_events_that_were_never_sent() -> None:
    with pytest.raises(ResumeUnknown, match="never sent"):
        history(KEPT, 8 + MAX_KEPT)
