"""What is asked for exists: metrics, rules, paragraphs and their tests."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from app.observability.collector import ServicesCollector
from tests.app.observability.support import caption, scrape
from tests.app.support import running, services
from tests.ops.files import PROMETHEUS, RUNBOOK, alerts, asked, dashboard, recorded, rules


async def test_every_metric_that_is_asked_for_is_shown(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        await caption(address, fakes.key, "alpha bravo", targets=["pt"])
        shown = (await scrape(address)).names
    known = shown | recorded()
    assert len(asked()) > 50
    assert asked() - known == set()


def test_every_recording_is_used() -> None:
    assert recorded() <= asked()


def test_every_alert_is_explained() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    sections = dict(
        re.findall(r"^### (Surtitle\w+)\n\n(.+?)(?=\n#)", text, re.MULTILINE | re.DOTALL)
    )
    names = {alert["alert"] for alert in alerts()}
    assert set(sections) == names
    for name, section in sections.items():
        assert "*Do*" in section or "by itself" in section, f"{name} does not say what to do"
    for alert in alerts():
        anchor = f"docs/operations.md#{alert['alert'].lower()}"
        assert alert["annotations"]["runbook_url"] == anchor
        assert alert["labels"]["severity"] in ("critical", "warning")


def test_every_alert_is_seen_to_fire_and_to_be_quiet() -> None:
    tests = yaml.safe_load((PROMETHEUS / "tests" / "alerts.yml").read_text(encoding="utf-8"))
    checks = [check for test in tests["tests"] for check in test["alert_rule_test"]]
    names = {alert["alert"] for alert in alerts()}
    assert {check["alertname"] for check in checks if check.get("exp_alerts")} == names
    assert {check["alertname"] for check in checks if not check.get("exp_alerts")} == names


def test_the_dashboard_is_whole() -> None:
    panels: list[dict[str, Any]] = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies over another panel"
        assert place["x"] + place["w"] <= 24
        taken |= cells
        references = [target["refId"] for target in panel.get("targets", ())]
        assert len(set(references)) == len(references)
        assert panel["type"] == "row" or references, f"{panel['title']} asks for nothing"


def test_labels_that_are_filtered_by_have_these_values() -> None:
    """A filter by a value that never comes would be an alert that never fires."""
    import app.observability.metrics as ours

    for rule in rules():
        for codes in re.findall(r'code=~"([^"]+)"', rule["expr"]):
            known = {*ours.FAULTS, "invalid_credential", "too_many_failures"}
            assert set(codes.split("|")) <= known
        for kind in re.findall(r'type="([^"]+)"', rule["expr"]):
            assert kind in ours.EVENTS


def described(registry: CollectorRegistry) -> list[tuple[str, str, list[str], str]]:
    """Name, type, labels and meaning of every metric of ours."""
    found = []
    for collector in registry._collector_to_names:
        for family in collector.collect():
            if family.name.startswith("surtitle_"):
                labels = getattr(family, "_labelnames", getattr(collector, "_labelnames", ()))
                suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
                name = family.name if family.name.endswith(suffix) else family.name + suffix
                kind = "gauge" if family.type == "info" else family.type
                found.append((name, kind, list(labels), family.documentation))
    return sorted(found)


def table(rows: list[tuple[str, str, list[str], str]]) -> str:
    lines = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for name, kind, labels, text in rows:
        shown = ", ".join(f"`{label}`" for label in labels)
        lines.append(f"| `{name}` | {kind} | {shown} | {text} |")
    return "\n".join(lines)


async def test_the_table_of_metrics_is_that_of_the_server(tmp_path: Path) -> None:
    """Renew it with ``SURTITLE_UPDATE_SNAPSHOTS=1``."""
    async with services(tmp_path) as fakes:
        registry = fakes.services.metrics.registry
        registry.register(ServicesCollector(fakes.services))
        expected = table(described(registry))
    text = RUNBOOK.read_text(encoding="utf-8")
    before, rest = text.split("<!-- metrics -->\n")
    shown, after = rest.split("<!-- /metrics -->")
    if os.environ.get("SURTITLE_UPDATE_SNAPSHOTS") == "1":
        shown = f"\n{expected}\n\n"
        RUNBOOK.write_text(
            f"{before}<!-- metrics -->\n{shown}<!-- /metrics -->{after}", encoding="utf-8"
        )
    assert shown.strip() == expected
