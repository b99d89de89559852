"""promtool and a real Prometheus, on the files as they are, over a real server with real models."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml

from streaming.types import SAMPLE_RATE
from tests.app.observability.support import Scrape, parse
from tests.e2e.client import REAL_TIME, s16, stream
from tests.e2e.server import Server, free_port, serving
from tests.ops.files import PROMETHEUS, alerts, asked, dashboard_queries, recorded, rules
from tests.speech import audioeval_clips

pytestmark = pytest.mark.ops

TOKEN = "a-token-for-prometheus-0123456789"


def tool(name: str) -> str:
    """Where a program is. That there is none is no reason to leave a test out."""
    found = shutil.which(name)
    assert found, f"{name} is not installed (Debian: prometheus)"
    return found


def promtool(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [tool("promtool"), *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return deployed(tmp_path)


def deployed(tmp_path: Path) -> Path:
    """The folder as it is deployed, with a token."""
    copy = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, copy)
    (copy / "surtitle-token").write_text(TOKEN, encoding="utf-8")
    return copy


def test_the_configuration_is_right(folder: Path) -> None:
    said = promtool("check", "config", "prometheus.yml", folder=folder)
    assert "2 rule files found" in said


def test_the_rules_are_right(folder: Path) -> None:
    said = promtool("check", "rules", "recording.yml", "alerts.yml", folder=folder)
    assert f"{len(alerts())} rules found" in said


def test_alerts_fire_when_they_should(folder: Path) -> None:
    promtool("test", "rules", "tests/alerts.yml", folder=folder)


@contextmanager
def scraping(folder: Path, *servers: Server) -> Iterator[httpx.Client]:
    """A Prometheus with our configuration, which scrapes these servers, and often."""
    targets = [{"targets": [f"{server.host}:{server.port}" for server in servers]}]
    (folder / "targets" / "surtitle.yml").write_text(yaml.safe_dump(targets), encoding="utf-8")
    path = folder / "prometheus.yml"
    settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    port = free_port()
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                tool("prometheus"),
                f"--config.file={path}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
            # It listens long before it has opened its store, and says 503 until then.
            until(60, lambda: http.get("/-/ready").status_code == 200)
            yield http
    finally:
        process.terminate()
        process.wait(timeout=30)


def until(seconds: float, ask: Any) -> Any:
    """What is asked for, as soon as it is there."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = ask()
        except httpx.TransportError:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.2)


def query(http: httpx.Client, expression: str) -> list[dict[str, Any]]:
    answer = http.get("/api/v1/query", params={"query": expression}).json()
    assert answer["status"] == "success", (expression, answer)
    result: list[dict[str, Any]] = answer["data"]["result"]
    return result


def evaluated_rules(http: httpx.Client) -> list[dict[str, Any]]:
    """All rules as Prometheus sees them; none as long as there is one that it has not tried."""
    groups = http.get("/api/v1/rules").json()["data"]["groups"]
    found = [rule for group in groups for rule in group["rules"]]
    return [] if any(rule["health"] == "unknown" for rule in found) else found


def scrape(server: Server) -> Scrape:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    response = httpx.get(f"{server.url}/metrics", headers=headers)
    assert response.status_code == 200
    return parse(response.text)


async def test_a_real_prometheus_scrapes_a_real_server(folder: Path, tmp_path: Path) -> None:
    with (
        serving(tmp_path, SURTITLE_METRICS_TOKEN=TOKEN) as server,
        scraping(folder, server) as http,
    ):
        until(30, lambda: query(http, 'up{job="surtitle"} == 1'))
        pause = np.zeros(round(1.2 * SAMPLE_RATE), dtype=np.float32)
        audio = np.concatenate(
            [part for clip in audioeval_clips("en") for part in (clip.audio(), pause)]
        )
        spoken = await stream(
            server, s16(audio), frame=3200, pace=REAL_TIME, source="en", targets=["pt"]
        )
        finals = len(spoken.of("final"))
        assert finals >= 2
        seen = scrape(server)
        _everything_is_shown(seen, finals)

        until(30, lambda: query(http, f'surtitle_events_total{{type="final"}} == {finals}'))
        evaluated = until(30, lambda: evaluated_rules(http))
        assert len(evaluated) == len(rules())
        assert [rule for rule in evaluated if rule["health"] != "ok"] == []
        assert [rule["name"] for rule in evaluated if rule.get("state") == "firing"] == []
        for name in ("surtitle:final_lag_seconds:p95", "surtitle:utterance_errors:ratio5m"):
            until(30, lambda name=name: query(http, name))

        for expression in dashboard_queries():
            filled = expression.replace("$__rate_interval", "30s").replace("$instance", ".*")
            query(http, filled)
    assert "level=error" not in (folder / "prometheus.log").read_text(encoding="utf-8")


def _everything_is_shown(seen: Scrape, finals: int) -> None:
    assert asked() - seen.names - recorded() == set()
    print(json.dumps({name: seen.value(name) for name in sorted(seen.names)}, indent=1))
    assert seen.value("surtitle_final_lag_seconds_count") == finals
    assert 0.3 < seen.value("surtitle_final_lag_seconds_sum") / finals < 30
    assert seen.value("surtitle_first_text_seconds_count") == finals
    assert seen.value("surtitle_endpoint_wait_seconds_count") == finals
    assert seen.value("surtitle_batch_rows_count") > finals
    assert seen.value("surtitle_encode_seconds_sum", work="final") > 0
    assert seen.value("surtitle_decode_seconds_sum", work="final") > 0
    padding = seen.value("surtitle_padding_seconds_total")
    assert 0 < padding < seen.value("surtitle_encoded_seconds_total")
    assert seen.value("surtitle_batched_jobs_total", worker="speech") > finals
    assert seen.value("surtitle_translation_lag_seconds_count") > 0
