from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from app.canary import Canary, Probe
from guards.errors import StoreUnavailable
from inference.supervision import Staff
from streaming.errors import ModelUnavailable
from tests.app.support import Fakes, client

NEVER = (1000.0, 1000.0)
LOOSE: dict[str, Any] = {
    f"health_{what}": NEVER
    for what in ("cpu_percent", "memory_percent", "disk_percent", "store_seconds")
} | {"health_loop_delay_seconds": NEVER, "canary_interval_seconds": 0}
"""What the machine of the tests is like does not matter."""


@asynccontextmanager
async def loose(
    tmp_path: Path, **settings: Any
) -> AsyncIterator[tuple[AsyncTestClient[Litestar], Fakes]]:
    async with client(tmp_path, **LOOSE | settings) as (http, fakes):
        yield http, fakes


async def health(http: AsyncTestClient[Litestar], fakes: Fakes) -> httpx.Response:
    """Asked anew."""
    fakes.services.health.forget()
    return await http.get("/health")


def named(answer: httpx.Response, name: str) -> dict[str, Any]:
    (found,) = [check for check in answer.json()["checks"] if check["name"] == name]
    return dict(found)


async def test_a_server_that_is_well(tmp_path: Path) -> None:
    async with loose(tmp_path) as (http, fakes):
        del http.headers["Authorization"]
        answer = await health(http, fakes)
        body = answer.json()
        assert (answer.status_code, body["status"], body["reasons"]) == (200, "ok", [])
        assert body["store"] == "ok"
        assert body["models"] == {"speech": "fake"}
        assert body["machine"]["memory_available_mib"] > 0
        cpu = named(answer, "cpu")
        assert (cpu["unit"], cpu["warn"], cpu["critical"]) == ("percent", 1000, 1000)
        assert (await http.get("/health/simple")).json() == {"status": "ok"}
        assert (await http.get("/health/live")).json() == {"status": "ok"}


async def test_starting_and_draining(tmp_path: Path) -> None:
    async with loose(tmp_path) as (http, fakes):
        fakes.services.draining = True
        answer = await health(http, fakes)
        assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
        simple = await http.get("/health/simple")
        assert (simple.status_code, simple.json()) == (503, {"status": "draining"})

        fakes.services.draining = fakes.services.ready = False
        answer = await health(http, fakes)
        assert (answer.status_code, answer.json()["status"]) == (503, "critical")
        simple = await http.get("/health/simple")
        assert (simple.status_code, simple.json()) == (503, {"status": "starting"})
        assert simple.headers["retry-after"] == "5"
        assert (await http.get("/health/live")).status_code == 200


async def test_thresholds_are_settings(tmp_path: Path) -> None:
    async with loose(tmp_path, health_memory_percent=(0.0, 1000.0)) as (http, fakes):
        answer = await health(http, fakes)
        assert answer.json()["status"] == "degraded"
        assert named(answer, "memory")["status"] == "degraded"
    async with loose(tmp_path, health_disk_percent=(0.0, 0.0)) as (http, fakes):
        answer = await health(http, fakes)
        assert (answer.status_code, named(answer, "disk")["status"]) == (503, "critical")
        assert (await http.get("/health/simple")).status_code == 200, "it still serves"


async def test_full_gpus(tmp_path: Path) -> None:
    async with loose(tmp_path) as (http, fakes):
        sampler = fakes.services.machine
        sampler.latest = replace(sampler.latest, gpu_memory_used_percent=(10.0, 90.0))
        answer = await health(http, fakes)
        assert answer.json()["reasons"] == ["memory of a GPU is 90 % in use"]
        assert answer.json()["machine"]["gpu_memory_used_percent"] == [10.0, 90.0]


async def test_lowered_limits_are_told(tmp_path: Path) -> None:
    async with loose(tmp_path, adaptive_limits=False) as (http, fakes):
        fakes.services.limiter.load.level = 2
        answer = (await health(http, fakes)).json()
        assert answer["status"] == "degraded"
        assert "limits of the lower tiers are lowered by 2 of 3" in answer["reasons"]


async def test_a_store_that_is_away_is_critical(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise StoreUnavailable("gone")

    async with loose(tmp_path) as (http, fakes):
        monkeypatch.setattr(fakes.services.keyring.store, "ping", fail)
        body = (await health(http, fakes)).json()
        assert (body["status"], body["store"]) == ("critical", "unavailable")


@pytest.mark.parametrize(
    ("staff", "status", "ready", "alive"),
    [
        (Staff(wanted=2, working=2), "ok", True, True),
        (Staff(wanted=2, working=1), "degraded", True, True),
        (Staff(wanted=2, working=2, abandoned=1), "degraded", True, True),
        (Staff(wanted=2, working=0), "critical", False, True),
        (Staff(wanted=2, working=1, abandoned=4, exhausted=True), "critical", False, False),
    ],
)
async def test_health_readiness_and_what_is_served_agree_on_the_workers(
    tmp_path: Path, staff: Staff, status: str, *, ready: bool, alive: bool
) -> None:
    async with loose(tmp_path) as (http, fakes):
        fakes.services.staff = lambda: {"speech": staff, "voice": Staff()}
        assert (await health(http, fakes)).json()["status"] == status
        assert ((await http.get("/health/simple")).status_code == 200) is ready
        assert ((await http.get("/health/live")).status_code == 200) is alive
        served = await http.post(
            "/translate/text", json={"text": "Hello.", "source": "en", "target": "pt"}
        )
        if ready:
            assert served.status_code == 200
        else:
            assert (served.status_code, served.json()["code"]) == (503, "model_unavailable")
            assert served.json()["retryable"] is True


async def test_translators_that_are_away_leave_speech_ready(tmp_path: Path) -> None:
    async with loose(tmp_path) as (http, fakes):
        fakes.services.staff = lambda: {
            "speech": Staff(),
            "voice": Staff(),
            "translation:some": Staff(working=0, exhausted=True, abandoned=4),
        }
        assert (await health(http, fakes)).json()["status"] == "degraded"
        assert (await http.get("/health/simple")).status_code == 200


async def test_a_model_that_does_not_answer_is_not_ready(tmp_path: Path) -> None:
    async def ask(_number: int) -> None:
        raise ModelUnavailable("gone")

    async with loose(tmp_path) as (http, fakes):
        probe = Probe("speech", ask, lambda: None)
        fakes.services.canary = Canary([probe], interval=30, timeout=1)
        assert (await http.get("/health/simple")).status_code == 200
        await fakes.services.canary.ask(probe)
        answer = await health(http, fakes)
        assert named(answer, "model:speech")["reason"] == "speech answered with model_unavailable"
        assert answer.status_code == 503
        assert (await http.get("/health/simple")).json() == {"status": "unavailable"}


async def test_open_breakers_are_told(tmp_path: Path) -> None:
    async with loose(tmp_path) as (http, fakes):
        fakes.services.breakers.breaker("redis")
        remote = fakes.services.breakers.breaker("remote")
        while remote.available:
            with pytest.raises(OSError, match="down"), remote.attempt():
                raise OSError("down")
        answer = (await health(http, fakes)).json()
        assert answer["status"] == "degraded"
        assert answer["reasons"] == ["calls of remote are cut off (open)"]
