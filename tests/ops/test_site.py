"""The whole site with real models: NGINX with TLS, two servers, one Redis."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import soundfile
import yaml
from websockets.asyncio.client import connect

from streaming.types import SAMPLE_RATE
from tests.e2e.client import REAL_TIME, Session, assert_well_formed, frames, s16
from tests.e2e.server import ALL_COMERS, Server, serving
from tests.ops.proxy import ROOT, Proxy, proxy
from tests.ops.test_prometheus import TOKEN, deployed, evaluated_rules, query, scraping, until
from tests.redis_server import running_redis
from tests.speech import audioeval_clips

pytestmark = [pytest.mark.ops, pytest.mark.e2e]


@dataclass(frozen=True, slots=True)
class Site:
    proxy: Proxy
    servers: list[Server]

    def client(self, **headers: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self.proxy.url, verify=self.proxy.tls, headers=headers, timeout=60
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with ExitStack() as stack:
        redis = stack.enter_context(running_redis(folder / "redis"))
        servers = []
        for number in (1, 2):
            (folder / str(number)).mkdir()
            variables = {
                "REDIS_URL": redis.url,
                "SURTITLE_PEPPER": "a pepper that both servers of this site share",
                "SURTITLE_TRUSTED_PROXIES": "127.0.0.1",
                "SURTITLE_METRICS_TOKEN": TOKEN,
                **ALL_COMERS,
            }
            servers.append(stack.enter_context(serving(folder / str(number), **variables)))
        addresses = [f"{server.host}:{server.port}" for server in servers]
        yield Site(stack.enter_context(proxy(folder / "nginx", addresses)), servers)


async def speak(site: Site, clip: bytes, number: int) -> tuple[Session, str]:
    """A browser: a ticket, then a stream in real time, until ``done``; and the ticket."""
    cookie = f"surtitle_lb=browser-{number}"
    async with site.client(**site.servers[0].headers, cookie=cookie) as http:
        ticket = (await http.post("/v1/tickets")).json()["ticket"]
    session = Session()
    async with connect(
        f"{site.proxy.stream_url}?ticket={ticket}",
        ssl=site.proxy.tls,
        additional_headers={"cookie": cookie, "origin": site.proxy.url},
    ) as socket:
        await socket.send(json.dumps({"type": "start", "source": "en", "targets": ["pt"]}))

        async def send() -> None:
            for frame in frames(clip, REAL_TIME // 10):
                await socket.send(frame)
                await asyncio.sleep(0.1)
            await socket.send('{"type": "stop"}')

        sending = asyncio.create_task(send())
        async for message in socket:
            session.events.append(json.loads(message))
        await sending
        session.close_code = socket.close_code
    return session, ticket


async def spread(site: Site) -> list[int]:
    """Four browsers, of whom two go to each server: which one goes where is their ports' chance."""
    for number in range(32):
        async with site.client(cookie=f"surtitle_lb=browser-{number}") as http:
            (await http.get("/languages")).raise_for_status()
    places = [one["upstream"] for one in site.proxy.entries() if one["path"] == "/languages"][-32:]
    assert len(set(places)) == 2
    return [
        number
        for place in set(places)
        for number in [one for one, other in enumerate(places) if other == place][:2]
    ]


async def test_real_speech_through_tls_on_both_servers(site: Site) -> None:
    clip = next(clip for clip in audioeval_clips("en") if "fox" in clip.id)
    browsers = await spread(site)
    heard = await asyncio.gather(*(speak(site, s16(clip.audio()), one) for one in browsers))
    for session, ticket in heard:
        assert_well_formed(session)
        assert "fox" in session.text.lower()
        assert "raposa" in " ".join(session.translated("pt")).lower()
        assert ticket not in site.proxy.logs()
        assert all(ticket not in server.log.read_text() for server in site.servers)
    streams = [one for one in site.proxy.entries() if one["path"] == "/v1/stream"]
    assert [one["status"] for one in streams] == [101] * 4
    assert len({one["upstream"] for one in streams}) == 2


async def test_a_file_is_captioned_through_the_proxy(site: Site, tmp_path: Path) -> None:
    clip = next(clip for clip in audioeval_clips("en") if "fox" in clip.id)
    talk = tmp_path / "talk.wav"
    soundfile.write(talk, clip.audio(), SAMPLE_RATE, subtype="PCM_16")
    async with site.client(**site.servers[0].headers) as http:
        with talk.open("rb") as file:
            response = await http.post(
                "/transcribe/audio", files={"file": file}, data={"format": "srt"}
            )
    assert response.status_code == 200
    assert "fox" in response.text.lower()


async def test_prometheus_sees_both_servers(site: Site, tmp_path: Path) -> None:
    clip = next(clip for clip in audioeval_clips("en") if "fox" in clip.id)
    with scraping(deployed(tmp_path), *site.servers) as http:
        until(30, lambda: len(query(http, 'up{job="surtitle"} == 1')) == 2)
        browsers = await spread(site)
        await asyncio.gather(*(speak(site, s16(clip.audio()), one) for one in browsers))
        instances = 'count by (instance) (surtitle_events_total{type="final"} > 0)'
        until(30, lambda: len(query(http, instances)) == 2)
        # What pods are added by: a number for each, as the adapter asks for it.
        adapter = yaml.safe_load((ROOT / "deploy/kubernetes/prometheus-adapter.yaml").read_text())
        (rule,) = adapter["rules"]["custom"]
        series = rule["seriesQuery"].partition("{")[0]
        waits = (
            rule["metricsQuery"]
            .replace("<<.Series>>", series)
            .replace("<<.LabelMatchers>>", 'job="surtitle"')
            .replace("<<.GroupBy>>", "instance")
        )
        until(30, lambda: len(query(http, waits)) == 2)
        assert all(0 <= float(one["value"][1]) < 60 for one in query(http, waits))
        evaluated = until(30, lambda: evaluated_rules(http))
        assert {rule["health"] for rule in evaluated} == {"ok"}


def test_the_load_test_measures_a_site(site: Site, tmp_path: Path) -> None:
    talk = tmp_path / "talk.wav"
    clip = next(clip for clip in audioeval_clips("en") if "fox" in clip.id)
    soundfile.write(talk, clip.audio(), SAMPLE_RATE, subtype="PCM_16")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "locust", "--headless", "--only-summary", "--insecure"),
            *("-f", ROOT / "deploy" / "loadtest" / "locustfile.py", "--host", site.proxy.url),
            *("--users", "3", "--spawn-rate", "3", "--run-time", "15s", "--stop-timeout", "60"),
            *("--speech", talk, "--csv", tmp_path / "figures"),
        ],
        env=os.environ | {"SURTITLE_KEY": site.servers[0].key, "PYTHONWARNINGS": "ignore"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0, done.stderr[-3000:]
    with (tmp_path / "figures_stats.csv").open(encoding="utf-8") as file:
        figures = {row["Name"]: row for row in csv.DictReader(file)}
    # Not "first text": on a busy machine partials give way to finals.
    for name in ("stream", "final", "/translate/text"):
        assert int(figures[name]["Request Count"]) > 0, name
    assert int(figures["Aggregated"]["Failure Count"]) == 0
    # A final can't come before the silence that it is told by.
    assert float(figures["final"]["Min Response Time"]) > 100
