from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec

from bench.chaos.compare import Difference
from bench.chaos.report import publish, row
from bench.chaos.stage import Outcome
from bench.chaos.tally import Struck, tally

OUTCOME = Outcome(
    fault="SIGKILL",
    streams=5,
    text=Difference(words=200, lost=0, added=0, changed=1),
    wrong=0,
    doubled=0,
    saw=Counter({"no close": 5}),
    anew=0,
    recovery=0.61,
    latest=2.04,
    undisturbed_latest=0.97,
    broken_promises=[],
    left={"first files": 2},
)
MACHINE = {"taken": "2026-01-02", "machine": {"cpu": "A", "cores": 2, "ctranslate2": "4.8.5"}}
LINE = "| SIGKILL | 5 × no close | 0.6 | 2.0 (1.0) | 0 of 200 | 0 | 1 | 0 | 2 × first files |"


def test_faults_and_a_soak_are_published_together(tmp_path: Path) -> None:
    publish(tmp_path, faults={**MACHINE, "rows": [row(OUTCOME)]})
    soak = {
        **MACHINE,
        **tally([], [Struck("redis restarts", 1.0)], [], []),
        "minutes": 20.0,
        "streams": 3,
        "seed": 7,
        "left": {},
        "recordings": 47,
        "recordings_tried": 103,
        "known": 400,
        "right_share": 0.9975,
        "calm": {"minutes": 10.0, "utterances": 200, "wrong": ["one"]},
    }
    text = publish(tmp_path, soak=soak)
    assert LINE in text
    assert "20 minutes, 3 speakers at a time, 1 faults, seed 7" in text
    assert "47 of 103 recordings" in text
    assert "400 of them" in text
    assert "**99.75%** were so here" in text
    assert "10 minutes without a fault: 200 utterances, of which\n  99.50% are correct" in text
    assert "| redis restarts | 1 | 0 | – | – |" in text
    assert (tmp_path / "chaos.md").read_text(encoding="utf-8") == text
    assert set(msgspec.json.decode((tmp_path / "chaos.json").read_bytes())) == {"faults", "soak"}


def test_an_interruption_without_an_end_has_no_length() -> None:
    assert row(replace(OUTCOME, recovery=float("inf")))["recovery"] is None
