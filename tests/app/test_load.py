from __future__ import annotations

from pathlib import Path

import pytest

from app.load import fullest_gpu, queue_wait
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


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo '1000, 4000'; echo '3000, 4000'", 0.75),
        ("echo 'no devices were found'; exit 6", None),
        ("echo '[N/A], [N/A]'", None),
        ("true", None),
    ],
)
async def test_the_fullest_gpu_counts(tmp_path: Path, script: str, expected: float | None) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o700)
    assert await fullest_gpu(str(tool)) == expected


async def test_no_tool_is_no_gpu(tmp_path: Path) -> None:
    assert await fullest_gpu(str(tmp_path / "none")) is None
