"""The load test itself, briefly, on the real server."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from bench.load.runs import Runs
from bench.load.servers import Target, started
from bench.load.speech import pool
from inference.models import ModelStore
from streaming.types import SAMPLE_RATE
from tests.e2e.server import Server
from tests.speech import audioeval_clips

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_what_is_measured_is_the_model_that_listens_offline(tmp_path: Path) -> None:
    model = ModelStore(tmp_path).speech("tiny.en")
    with started("surtitle", tmp_path, model=model.path, installed=None, variables={}) as target:
        report = httpx.get(f"{target.http}/health", headers=target.headers).json()
    assert report["models"]["speech"] == model.path.name != "base"


def test_what_two_speakers_say_is_heard_and_measured(server: Server, tmp_path: Path) -> None:
    clips = [
        replace(clip, seconds=len(clip.audio()) / SAMPLE_RATE)
        for clip in audioeval_clips("en")
        if clip.id != "en/counting"  # how numbers are written differs from processor to processor
    ]
    model = ModelStore(tmp_path).speech("base")
    said = asyncio.run(pool(clips, seconds=60, seed=1, model=model, cache=tmp_path))
    target = Target(
        kind="surtitle",
        url=server.stream_url,
        http=server.url,
        key=server.key,
        pid=server.process.pid,
    )
    runs = Runs(target, said, seconds=6.0, ramp=1.0, seed=1)
    outcome = runs.run(runs.scripts(2))
    row = outcome.row("speaker")
    assert (row["streams"], row["refused"], row["broken"]) == (2, {}, {})
    assert row["utterances"] >= 4
    assert row["measured"] > 0
    assert row["missed"] == 0
    assert row["wer"] <= row["wer_offline"] + 15
    assert row["stable_erased"] == 0
    assert row["final_lag_p50"] > 0
    assert row["first_text_p50"] > 0
    assert row["server_cores"] > 0
    assert row["memory_max_mib"] > 100
    assert row["answer_p50"] > 0
    refused = replace(target, key="wrong")
    (stream,) = runs.run(runs.scripts(1), target=refused, headers=[refused.headers]).log.streams
    assert stream.refused is not None
    assert stream.refused.startswith("401")
