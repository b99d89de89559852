"""What a server says of its event loop's delay, where it says anything."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import httpx

from bench.load.servers import Target

_BUCKET = re.compile(
    r'^\w*loop_(?:delay|lag)_seconds_bucket\{[^}]*le="([^"]+)"[^}]*\}\s+(\S+)', re.MULTILINE
)


class LoopDelay:
    """Reads ``/metrics`` (a histogram of seconds) and ``/health`` before and after a run."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._before: dict[float, float] = {}

    def begin(self) -> None:
        self._before = buckets(self._get("/metrics"))

    def end(self) -> dict[str, float]:
        """Quantiles of the run, and whatever the health page says of a loop at its end."""
        after = buckets(self._get("/metrics"))
        counts = {edge: count - self._before.get(edge, 0.0) for edge, count in after.items()}
        told = {f"delay_p{round(100 * q)}": quantile_of(counts, q) for q in (0.5, 0.99)}
        return {
            **{name: value for name, value in told.items() if value is not None},
            **about_loop(self._get("/health")),
        }

    def _get(self, path: str) -> str:
        if self._target.http is None:
            return ""
        try:
            answer = httpx.get(
                f"{self._target.http}{path}", headers=self._target.headers, timeout=10
            )
        except httpx.TransportError:
            return ""
        # A server whose processors are full says so with a 503, and says everything else as well.
        known = answer.is_success or answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
        return answer.text if known else ""


def buckets(metrics: str) -> dict[float, float]:
    """The cumulative buckets of a loop's delay in Prometheus text, by their upper edge."""
    return {float(edge): float(count) for edge, count in _BUCKET.findall(metrics)}


def quantile_of(counts: Mapping[float, float], q: float) -> float | None:
    """The upper edge of the bucket that a quantile falls into; None of nothing."""
    total = max(counts.values(), default=0.0)
    if not total:
        return None
    return min(edge for edge, count in counts.items() if count >= q * total)


def about_loop(health: str) -> dict[str, float]:
    """Every number on a health page whose path speaks of a loop."""
    try:
        page: Any = json.loads(health)
    except ValueError:
        return {}
    found: dict[str, float] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path}.{key}" if path else str(key))
        elif isinstance(value, int | float) and not isinstance(value, bool) and "loop" in path:
            found[path] = float(value)

    walk(page, "")
    return found
