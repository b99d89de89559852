from __future__ import annotations

from app.load import queue_wait
from inference.dispatcher import DispatcherStats
from streaming.types import Priority


def stats(queued: int, *waits: float) -> DispatcherStats:
    return DispatcherStats(
        queued={Priority.FINAL: 0, Priority.PARTIAL: queued},
        running=1,
        batches=1,
        rows=1,
        superseded=0,
        rejected=0,
        failed=0,
        waits=waits,
    )


def test_jobs_wait_as_the_last_ones_did_where_some_are_queued() -> None:
    assert queue_wait([]) == 0
    assert queue_wait([stats(0, 9.0, 9.0)]) == 0
    assert queue_wait([stats(1)]) == 0
    assert queue_wait([stats(1, *[9.0] * 100, *[0.5] * 16), stats(1, 0.25)]) == 0.5
