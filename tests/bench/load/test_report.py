from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bench.load.report import merged, page, publish


def row(**changes: Any) -> dict[str, Any]:
    return {
        "speakers": 4,
        "group": "speaker",
        "final_lag_p50": 0.5,
        "final_lag_p95": 0.9,
        "missed": 1,
        "utterances": 30,
        "refused": {"503 overloaded": 2},
        "broken": {},
        "notices": {"warning lagging": 3},
        "answer_p50": 0.002,
        "answer_p99": 0.012,
        "loop": {"delay_p50": 0.001, "delay_p99": 0.025},
        "other_cores": 0.05,
        **changes,
    }


def section(server: str = "surtitle", scenario: str = "speakers", **changes: Any) -> dict[str, Any]:
    return {
        "server": server,
        "scenario": scenario,
        "taken": "2026-01-02",
        "machine": {"cpu": "abacus", "cores": 2},
        "model": "base",
        "seconds": 60.0,
        "variables": {"SURTITLE_ENDPOINT_MS": "500"},
        "pool": {"utterances": 20, "seconds": 120.0, "seed": 1, "wer_offline": 8.25},
        "rows": [row()],
        "verdict": {},
        **changes,
    }


def test_a_newer_section_takes_the_place_of_its_older_self() -> None:
    old = [section(), section("whisperlive"), section(scenario="soak")]
    new = section(taken="2026-02-02")
    found = merged(old, [new])
    assert [(one["server"], one["scenario"], one["taken"]) for one in found] == [
        ("surtitle", "speakers", "2026-02-02"),
        ("whisperlive", "speakers", "2026-01-02"),
        ("surtitle", "soak", "2026-01-02"),
    ]


def test_servers_stand_side_by_side() -> None:
    text = page(
        [
            section(rows=[row(speakers=1), row(speakers=4)]),
            section("whisperlive-batch", rows=[row(speakers=1, loop={}, answer_p50=None)]),
        ]
    )
    servers = [line.split("|")[1:3] for line in text.splitlines() if line.startswith("| ")]
    assert [[cell.strip() for cell in cells] for cells in servers] == [
        ["speakers", "server"],
        ["1", "Surtitle"],
        ["1", "WhisperLive 0.10.0, batch mode"],
        ["4", "Surtitle"],
    ]
    assert "1 of 30" in text
    assert "2 × 503 overloaded, 3 × warning lagging" in text
    assert "2 / 12" in text
    assert "| 25.00 |" in text
    assert "abacus, 2 cores" in text
    assert "`SURTITLE_ENDPOINT_MS=500`" in text


def test_busy_neighbours_and_a_niced_server_are_pointed_out() -> None:
    busy = page([section(rows=[row(other_cores=0.85, server_nice=12)])])
    assert "| **0.85** | 12 |" in busy
    quiet = page([section(rows=[row(server_nice=0)])])
    assert "| 0.05 |" in quiet
    assert "niced by" not in quiet


def test_what_was_found_is_said_with_its_reason() -> None:
    verdict = {"found": 7, "limited_by": ["p95 final lag 1.2 s > 1.0 s"]}
    text = page([section(scenario="find", verdict=verdict)])
    assert "Surtitle holds **7** speakers (one more: p95 final lag 1.2 s > 1.0 s)." in text


def test_every_scenario_has_its_table_and_verdict() -> None:
    text = page(
        [
            section(scenario="idle", rows=[row(idle=1000)], verdict={"kib_per_idle_session": 61.5}),
            section(scenario="muted", rows=[row(idle=900)], verdict={"sends": "keepalives"}),
            section(scenario="overload", verdict={"refused": {"503 overloaded": 2}}),
            section(scenario="tenants", verdict={"lag_ratio_p95": 1.1}),
            section(scenario="soak", verdict={"mib_per_hour": 0.4, "memory": [[0.0, 700.0]]}),
        ]
    )
    for title in (
        "Idle sessions that send sound",
        "Idle sessions that send keepalives",
        "Overload",
        "A flood from one key",
        "Soak",
    ):
        assert f"## {title}\n" in text
    assert "- kib per idle session: 61.50" in text
    assert "- sends: keepalives" in text
    assert "- refused: 2 × 503 overloaded" in text
    assert "700" not in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.endswith("|")


def test_results_are_added_to(tmp_path: Path) -> None:
    publish([section()], tmp_path / "out")
    text = publish([section("whisperlivekit")], tmp_path / "out")
    kept = msgspec.json.decode((tmp_path / "out" / "load.json").read_bytes())
    assert [one["server"] for one in kept] == ["surtitle", "whisperlivekit"]
    assert (tmp_path / "out" / "load.md").read_text(encoding="utf-8") == text
