from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect

from app.logging import set_level
from guards.errors import StoreUnavailable
from tests.app.support import admin, client, rest, running


async def test_a_stream_is_listed_and_ended(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as (address, fakes, _),
        httpx.AsyncClient(base_url=f"http://{address}", headers=admin()) as http,
    ):
        assert (await http.get("/admin/sessions")).json() == []
        headers = {"X-API-Key": fakes.key}
        async with connect(f"ws://{address}/v1/stream", additional_headers=headers) as socket:
            await socket.send(json.dumps({"type": "start"}))
            ready = json.loads(await socket.recv())
            await socket.send(b"\0" * 32_000)
            while True:
                (session,) = (await http.get("/admin/sessions")).json()
                if session["audio_seconds"] == 1.0:
                    break
            assert session["id"] == ready["session"]
            assert (session["user_id"], session["tier"]) == ("ana", fakes.tier.value)
            assert session["address"] == "127.0.0.1"
            assert not session["ending"]
            assert session["behind_seconds"] >= 0
            ended = await http.delete(f"/admin/sessions/{session['id']}")
            assert (ended.status_code, ended.content) == (204, b"")
            events = await rest(socket)
            assert (events[-1]["code"], events[-1]["fatal"]) == ("session_closed", True)
            assert socket.close_code == 4403
        while (await http.get("/admin/sessions")).json():
            pass  # its usage is still being settled
        gone = await http.delete(f"/admin/sessions/{session['id']}")
        assert (gone.status_code, gone.json()["code"]) == (404, "session_unknown")


async def test_caches_are_cleared(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        body = {"text": "Good morning.", "target": "pt", "source": "en"}
        for cached in (False, True):
            assert (await http.post("/translate/text", json=body)).json()["cached"] is cached
        cleared = await http.post("/admin/cache/clear", headers=admin())
        assert cleared.status_code == 200
        assert cleared.json() == {"transcripts": 0, "translations": 1}
        assert (await http.post("/translate/text", json=body)).json()["cached"] is False


async def test_an_address_is_forgiven(tmp_path: Path) -> None:
    async with client(tmp_path, login_failures_per_minute=1) as (http, fakes):
        throttle = fakes.services.throttle
        assert throttle is not None
        await throttle.failed("192.0.2.1")
        body = {"address": "192.0.2.1"}
        reset = await http.post("/admin/limits/reset", json=body, headers=admin())
        assert reset.status_code == 204
        await throttle.check("192.0.2.1")


async def test_a_keys_requests_are_forgotten(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):
        key_id = fakes.record.key_id
        changed = {"limits": {"account_per_minute": 1}}
        await http.patch(f"/auth/api-key/{key_id}", json=changed, headers=admin())
        assert (await http.post("/v1/tickets")).status_code == 201
        assert (await http.post("/v1/tickets")).json()["code"] == "rate_limited"
        body = {"key_id": key_id}
        await http.post("/admin/limits/reset", json=body, headers=admin())
        assert (await http.post("/v1/tickets")).status_code == 201


async def test_the_log_level_is_changed(tmp_path: Path) -> None:
    before = logging.getLogger().level
    try:
        async with client(tmp_path) as (http, _):
            changed = await http.put("/admin/log-level", json={"level": "error"}, headers=admin())
            assert (changed.status_code, changed.json()) == (200, {"level": "error"})
            assert logging.getLogger().level == logging.ERROR
            shown = await http.get("/admin/log-level", headers=admin())
            assert shown.json() == {"level": "error"}
            wrong = await http.put("/admin/log-level", json={"level": "loud"}, headers=admin())
            assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid_request")
    finally:
        set_level("info")
        logging.getLogger().setLevel(before)


async def test_a_drain_turns_away_what_is_new_and_ends_what_runs(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as (address, _, _),
        httpx.AsyncClient(base_url=f"http://{address}", headers=admin()) as http,
        connect(f"ws://{address}/v1/stream", additional_headers=admin()) as socket,
    ):
        await socket.send(json.dumps({"type": "start"}))
        await socket.recv()
        drained = await http.post("/admin/drain")
        assert (drained.status_code, drained.json()) == (202, {"draining": True, "sessions": 1})
        assert json.loads(await socket.recv())["code"] == "draining"
        assert (await http.get("/health/simple")).status_code == 503
        refused = await http.post("/translate/text", json={"text": "x", "target": "pt"})
        assert (refused.status_code, refused.json()["code"]) == (503, "draining")


async def audit(http: Any, **query: int) -> dict[str, Any]:
    response = await http.get("/admin/audit", params=query, headers=admin())
    assert response.status_code == 200
    page: dict[str, Any] = response.json()
    return page


async def test_what_administrators_do_is_written_down(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        body = {"user_id": "rui", "tier": "pro"}
        named = {**admin(), "X-Request-ID": "request-7"}
        key = (await http.post("/auth/api-key", json=body, headers=named)).json()
        address = f"/auth/api-key/{key['key_id']}"
        changes = {
            "limits": {"streams": 3},
            "scopes": ["translate", "stream"],
            "expires_at": "2099-01-01T00:00:00Z",
            "tier": "basic",
        }
        await http.patch(address, json=changes, headers=admin())
        rotated = (await http.post(f"{address}/rotate", headers=admin())).json()
        await http.delete(address, headers=admin())
        await http.delete("/auth/api-key/key_none", headers=admin())
        await http.post("/admin/cache/clear", headers=admin())
        page = await audit(http)
        assert page["next"] is None
        assert [(one["action"], one["outcome"]) for one in page["entries"]] == [
            ("cache.clear", "done"),
            ("key.revoke", "key_unknown"),
            ("key.revoke", "done"),
            ("key.rotate", "done"),
            ("key.change", "done"),
            ("key.create", "done"),
        ]
        created = page["entries"][-1]
        assert created["target"] == key["key_id"]
        assert (created["key_id"], created["user_id"]) == ("key_environment", "admin")
        assert (created["request_id"], created["address"]) == ("request-7", "testclient")
        assert created["details"] == {"user_id": "rui", "tier": "pro", "scopes": []}
        assert page["entries"][-2]["details"] == changes
        for secret in (key["api_key"], rotated["api_key"]):
            assert secret not in json.dumps(page)


async def test_the_audit_log_is_read_in_pages(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        for _ in range(5):
            await http.post("/admin/cache/clear", headers=admin())
        seen, query = [], {"limit": 2}
        while True:
            page = await audit(http, **query)
            seen += [entry["id"] for entry in page["entries"]]
            if page["next"] is None:
                break
            query["before"] = page["next"]
        assert len(seen) == 5
        assert seen == sorted(seen, reverse=True)
        for wrong in ({"limit": 0}, {"limit": 501}, {"before": 2**70}, {"before": "x"}):
            response = await http.get("/admin/audit", params=wrong, headers=admin())
            assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


async def test_an_action_that_cannot_be_written_down_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with client(tmp_path) as (http, fakes):

        async def full(_: object) -> None:
            raise StoreUnavailable("The database does not answer.")

        monkeypatch.setattr(fakes.services.audit, "append", full)
        response = await http.post("/admin/cache/clear", headers=admin())
        assert (response.status_code, response.json()["code"]) == (503, "store_unavailable")


async def test_actions_at_once_are_all_written_down(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        await asyncio.gather(*(http.post("/admin/cache/clear", headers=admin()) for _ in range(20)))
        assert len((await audit(http))["entries"]) == 20
