"""What is deployed for watching, read."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
PROMETHEUS: Final = ROOT / "deploy" / "prometheus"
DASHBOARD: Final = ROOT / "deploy" / "grafana" / "dashboards" / "surtitle.json"
RUNBOOK: Final = ROOT / "docs" / "operations.md"

_NAME: Final = re.compile(r"(?<![\w:])surtitle[_:][\w:]+")


def rules() -> list[dict[str, Any]]:
    """All rules: those that record, and alerts."""
    return [
        rule
        for name in ("recording.yml", "alerts.yml")
        for group in yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def dashboard_queries() -> list[str]:
    return [
        target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", ())
    ]


def asked() -> set[str]:
    """Every metric that the dashboard, its variables or the rules ask for."""
    variables = json.dumps(dashboard()["templating"])
    texts = [*dashboard_queries(), variables, *(rule["expr"] for rule in rules())]
    return {name for text in texts for name in _NAME.findall(text)}


def recorded() -> set[str]:
    return {rule["record"] for rule in rules() if "record" in rule}
