from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from app.breakers import Breakers
from app.settings import load
from streaming.breaker import BreakerPolicy, BreakerState
from tests.app.support import admin, client
from tests.clock import Clock


def test_a_service_has_one_breaker_with_the_policy_of_the_settings(tmp_path: Path) -> None:
    settings = load(
        data_dir=tmp_path,
        breaker_failures=7,
        breaker_recovery_seconds=3.0,
        breakers=("redis=2/0.25", "translator:libre=1/60"),
    )
    breakers = Breakers.of(settings)
    assert breakers.breaker("redis").policy == BreakerPolicy(failures=2, recovery=0.25)
    assert breakers.breaker("translator:libre").policy == BreakerPolicy(failures=1, recovery=60)
    assert breakers.breaker("translator:other").policy == BreakerPolicy(failures=7, recovery=3)
    assert breakers.breaker("redis") is breakers.breaker("redis")
    names = [status.name for status in breakers.states]
    assert names == ["redis", "translator:libre", "translator:other"]


def opened(breakers: Breakers, name: str) -> None:
    breaker = breakers.breaker(name)
    for _ in range(breaker.policy.failures):
        with pytest.raises(OSError, match="down"), breaker.attempt():
            raise OSError("down")
    assert breaker.state is BreakerState.OPEN


def test_a_reset_names_what_was_not_closed() -> None:
    breakers = Breakers(clock=Clock())
    breakers.breaker("fine")
    opened(breakers, "down")
    opened(breakers, "gone")
    assert breakers.reset("fine") == []
    assert breakers.reset("gone") == ["gone"]
    assert breakers.reset() == ["down"]
    assert breakers.reset() == []
    with pytest.raises(KeyError):
        breakers.reset("unknown")


async def test_administrators_see_and_reset_them(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):
        breakers = fakes.services.breakers
        breakers.breaker("translator:fine")
        opened(breakers, "translator:down")
        down, fine = (await http.get("/admin/circuit-breakers", headers=admin())).json()
        assert (down["name"], down["state"], down["failures"]) == ("translator:down", "open", 5)
        since, until = map(datetime.fromisoformat, (down["since"], down["next_try"]))
        assert 0 < (until - since).total_seconds() <= 10.5
        assert (fine["state"], fine["next_try"]) == ("closed", None)
        body = {"name": "translator:down"}
        reset = await http.post("/admin/circuit-breaker/reset", json=body, headers=admin())
        assert (reset.status_code, reset.json()) == (200, {"reset": ["translator:down"]})
        assert breakers.breaker("translator:down").available
        assert (
            await http.post("/admin/circuit-breaker/reset", json={}, headers=admin())
        ).json() == {"reset": []}
        entries = (await http.get("/admin/audit", headers=admin())).json()["entries"]
        assert [(one["action"], one["outcome"], one["details"]) for one in entries] == [
            ("breaker.reset", "done", {"service": None}),
            ("breaker.reset", "done", {"service": "translator:down"}),
        ]


async def test_a_breaker_that_is_none_is_said_and_not_written_down(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        body = {"name": "a secret in the wrong place"}
        reset = await http.post("/admin/circuit-breaker/reset", json=body, headers=admin())
        assert (reset.status_code, reset.json()["code"]) == (404, "breaker_unknown")
        audit = await http.get("/admin/audit", headers=admin())
        assert audit.json()["entries"][0]["outcome"] == "breaker_unknown"
        assert "secret" not in audit.text
