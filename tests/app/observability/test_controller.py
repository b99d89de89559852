"""Who may read the metrics."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from guards.errors import StoreUnavailable
from guards.principal import METRICS, WORK, Tier
from tests.app.support import admin, running

TOKEN = "the-token-that-prometheus-has"


async def ask(address: str, headers: Mapping[str, str]) -> tuple[int, str]:
    async with httpx.AsyncClient(base_url=f"http://{address}") as http:
        response = await http.get("/metrics", headers=dict(headers))
    if response.status_code == 200:
        assert "surtitle_ready 1.0" in response.text
        return 200, ""
    return response.status_code, response.json()["code"]


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [
        ({}, {}, 401),
        ({}, {"Authorization": f"Bearer {TOKEN}"}, 401),
        ({}, admin(), 200),
        ({"metrics_token": TOKEN}, {"Authorization": f"Bearer {TOKEN}"}, 200),
        ({"metrics_token": TOKEN}, {"Authorization": f"bearer  {TOKEN}"}, 200),
        ({"metrics_token": TOKEN}, {"Authorization": f"Basic {TOKEN}"}, 401),
        ({"metrics_token": TOKEN}, {"Authorization": f"Bearer {TOKEN}x"}, 401),
        ({"metrics_token": TOKEN}, {}, 401),
        ({"metrics_access": "loopback"}, {}, 200),
        ({"metrics_access": "loopback"}, {"X-Forwarded-For": "192.0.2.1"}, 401),
        ({"metrics_access": "loopback"}, {"Forwarded": "for=192.0.2.1"}, 401),
        ({"metrics_access": "loopback"}, {"Via": "1.1 proxy"}, 401),
        ({"metrics_access": "loopback"}, {"X-Real-IP": "127.0.0.1"}, 401),
        ({"metrics_access": "open"}, {"X-Forwarded-For": "192.0.2.1"}, 200),
    ],
)
async def test_who_may_read(
    tmp_path: Path, settings: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    async with running(tmp_path, **settings) as (address, _, _):
        assert (await ask(address, headers))[0] == status


async def test_a_key_for_metrics_opens_them_and_nothing_else(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        keyring = fakes.services.keyring
        narrow, _ = await keyring.issue(
            user_id="prometheus", tier=Tier.FREE, scopes=frozenset({METRICS})
        )
        usual, _ = await keyring.issue(user_id="ana", tier=Tier.PRO, scopes=WORK)
        assert await ask(address, {"Authorization": f"Bearer {narrow}"}) == (200, "")
        assert await ask(address, {"Authorization": f"Bearer {usual}"}) == (403, "forbidden")
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            http.headers["Authorization"] = f"Bearer {narrow}"
            text = {"text": "Hello.", "source": "en", "target": "pt"}
            assert (await http.post("/translate/text", json=text)).status_code == 403
            assert (await http.get("/admin/sessions")).status_code == 403


async def test_the_token_needs_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: Any) -> None:
        raise StoreUnavailable("gone")

    async with running(tmp_path, metrics_token=TOKEN) as (address, fakes, _):
        monkeypatch.setattr(fakes.services.keyring, "authenticate", away)
        assert (await ask(address, admin()))[0] == 503
        assert (await ask(address, {"Authorization": f"Bearer {TOKEN}"}))[0] == 200


async def test_openmetrics_where_it_is_asked_for(tmp_path: Path) -> None:
    async with (
        running(tmp_path, metrics_access="open") as (address, _, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        response = await http.get("/metrics", headers=accept)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
