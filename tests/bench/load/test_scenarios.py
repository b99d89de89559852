"""Scenarios on runs that are made up: what they ask for, and what they conclude."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.corpus import Errors
from bench.load import scenarios
from bench.load.measure import Group, Heard, groups
from bench.load.plan import RunLog, StreamLog
from bench.load.runs import Outcome, Runs
from bench.load.schedule import Script
from bench.load.servers import Target
from bench.processes import Sample
from tests.bench.load.test_measure import POOL

SECONDS = 30.0
KIB_EACH, KIB_BARE = 50.0, 20.0
"""What an idle session takes in these runs, of a server and of one that does nothing."""


class FakeRuns(Runs):
    """A server that is in time for up to ``holds`` streams, and lets in twice as many."""

    def __init__(self, holds: int) -> None:
        target = Target(kind="surtitle", url="ws://nowhere", pid=1)
        super().__init__(target, POOL, seconds=SECONDS, ramp=4.0, seed=1)
        self._holds = holds
        self.played: list[list[Script]] = []

    def run(self, chosen: Sequence[Script], **options: Any) -> Outcome:
        self.played.append(list(chosen))
        lag = 0.5 if len(chosen) <= self._holds else 3.0
        streams = [self._stream(script, number, lag) for number, script in enumerate(chosen)]
        idle = options.get("idle")
        count = idle.count if idle else 0
        each = KIB_BARE if options.get("target") else KIB_EACH
        log = RunLog(
            began=1000.0,
            speaking=1020.0,
            ended=1100.0,
            streams=streams,
            idle_connected=count,
            own_delays=[0.001],
            answers=[0.002],
        )
        samples = [
            Sample(at, at / 2, at / 50, at, 700 + (count * each / 1024 if at > 1010 else 0))
            for at in range(1000, 1100)
        ]
        return Outcome(log=log, groups=groups(log, self.pool), samples=samples, loop={})

    def _stream(self, script: Script, number: int, lag: float) -> StreamLog:
        log = StreamLog(script=script)
        if number >= 2 * self._holds:
            log.refused, log.retry_after = "503 overloaded", 5.0
            return log
        log.began = 1020.0 + script.offset
        for segment, line in enumerate(script.lines):
            utterance = self.pool[line.utterance]
            time = line.start + utterance.speech[1] + lag
            log.transcript.finish(time, segment, utterance.text, whole=True)
        return log


def test_the_number_found_is_the_largest_that_is_held() -> None:
    runs = FakeRuns(holds=5)
    result = scenarios.find(runs, limit=64)
    assert result.verdict["found"] == 5
    assert result.verdict["limited_by"] == ["p95 final lag 3.0 s > 1.0 s"]
    assert [row["speakers"] for row in result.rows] == [1, 2, 4, 5, 6, 8]
    assert [row["shortcomings"] for row in result.rows if row["speakers"] <= 5] == [[]] * 4
    assert all(row["wer_change"] == 0 for row in result.rows)


def test_nothing_is_said_of_what_was_not_tried() -> None:
    result = scenarios.find(FakeRuns(holds=50), limit=4)
    assert result.verdict == {"found": 4, "limited_by": []}


def test_each_number_of_speakers_has_its_row() -> None:
    runs = FakeRuns(holds=2)
    rows = scenarios.speakers(runs, [1, 3]).rows
    assert [(row["speakers"], row["streams"], row["final_lag_p50"]) for row in rows] == [
        (1, 1, 0.5),
        (3, 3, 3.0),
    ]
    # The one who speaks alone says everything there is.
    assert {line.utterance for line in runs.played[0][0].lines} == set(range(len(POOL)))


def test_newcomers_at_capacity_are_counted_apart() -> None:
    runs = FakeRuns(holds=2)
    result = scenarios.overload(runs, 3)
    first, newcomers = result.rows
    assert (first["streams"], first["refused"]) == (3, {})
    assert (newcomers["streams"], newcomers["refused"]) == (3, {"503 overloaded": 2})
    assert result.verdict["refused"] == {"503 overloaded": 2}
    (played,) = runs.played
    assert {script.offset >= SECONDS / 3 for script in played[3:]} == {True}
    ends = {round(script.offset + script.seconds) for script in played}
    assert max(ends) - min(ends) <= 4  # the length of an utterance


def test_what_an_idle_session_takes_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenarios, "_issue", lambda _, user: user)
    result = scenarios.idle(FakeRuns(holds=5), 1000, speaking=5, keepalive=False, folder=tmp_path)
    assert result.verdict["connected"] == 1000
    assert result.verdict["kib_per_idle_session"] == pytest.approx(KIB_EACH)
    assert result.verdict["kib_per_bare_socket"] == pytest.approx(KIB_BARE)
    assert [row["idle"] for row in result.rows] == [0, 1000]


def test_a_soak_tells_how_memory_went() -> None:
    result = scenarios.soak(FakeRuns(holds=5), 2, minutes=1.0)
    assert result.verdict["mib_per_hour"] == 0
    assert result.verdict["mib_at_start"] == result.verdict["mib_at_end"] == 700
    assert result.rows[0]["over_time"][0]["utterances"] > 0


def test_a_flood_is_compared_with_its_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenarios, "_issue", lambda _, user: user)
    runs = FakeRuns(holds=4)
    result = scenarios.tenants(runs, speaking=2, flood=6)
    assert result.verdict == {"lag_ratio_p50": 6.0, "lag_ratio_p95": 6.0}
    assert [row["group"] for row in result.rows] == ["alone", "beside the flood", "flood"]
    assert [script.tenant for script in runs.played[1]] == [0] * 2 + [1] * 6
    assert len({script.stream for script in runs.played[1]}) == 8


def test_lag_is_told_by_stretches_of_time() -> None:
    def one(at: float, lag: float | None) -> Heard:
        return Heard(
            stream=0,
            utterance=0,
            steady=True,
            at=at,
            final_lag=lag,
            first_text=None,
            errors=Errors(),
            offline=Errors(),
        )

    told = scenarios.over_time(Group([], [one(1, 0.5), one(9, 1.5), one(10, None)]))
    assert told == [
        {"from": 0.0, "utterances": 2, "missed": 0, "p50": 0.5, "max": 1.5},
        {"from": 10.0, "utterances": 1, "missed": 1, "p50": None, "max": None},
    ]
