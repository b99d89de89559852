from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar
from litestar.testing import AsyncTestClient

from tests.app.support import admin, client


async def test_a_key_is_issued_used_and_revoked(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        body = {"user_id": "rui", "tier": "pro", "name": "talk"}
        issued = await http.post("/auth/api-key", json=body, headers=admin())
        assert issued.status_code == 201
        assert issued.headers["cache-control"] == "no-store"
        key = issued.json()
        assert (key["user_id"], key["tier"], key["name"]) == ("rui", "pro", "talk")
        mine = {"Authorization": f"Bearer {key['api_key']}"}
        assert (await http.post("/v1/tickets", headers=mine)).status_code == 201
        listing = await http.get("/auth/api-key", headers=admin())
        assert key["api_key"] not in listing.text
        found = next(one for one in listing.json() if one["key_id"] == key["key_id"])
        assert found["last_used_at"] is not None

        address = f"/auth/api-key/{key['key_id']}"
        gone = await http.delete(address, headers=admin())
        assert (gone.status_code, gone.content) == (204, b"")
        refused = await http.post("/v1/tickets", headers=mine)
        assert (refused.status_code, refused.json()["code"]) == (401, "key_revoked")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/auth/api-key"), ("POST", "/auth/api-key"), ("DELETE", "/auth/api-key/x")],
)
async def test_administration_needs_the_scope(tmp_path: Path, method: str, path: str) -> None:
    async with client(tmp_path) as (http, _):
        user = await http.request(method, path)
        assert (user.status_code, user.json()["code"]) == (403, "forbidden")
        del http.headers["Authorization"]
        nobody = await http.request(method, path)
        assert (nobody.status_code, nobody.json()["code"]) == (401, "authentication_required")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"user_id": "rui", "tier": "gold"}, "invalid_request"),
        ({"user_id": "", "tier": "pro"}, "invalid_request"),
        ({"tier": "pro"}, "invalid_request"),
        ({"user_id": "rui", "tier": "pro", "scopes": ["root"]}, "scope_unknown"),
        (
            {"user_id": "rui", "tier": "pro", "expires_at": "2020-01-01T00:00:00Z"},
            "expiry_passed",
        ),
        ({"user_id": "rui", "tier": "pro", "expires_at": "tomorrow"}, "invalid_request"),
        ({"user_id": "rui", "tier": "pro", "expires_at": "2099-01-01T00:00:00"}, "invalid_request"),
    ],
)
async def test_impossible_keys(tmp_path: Path, body: dict[str, Any], code: str) -> None:
    async with client(tmp_path) as (http, _):
        response = await http.post("/auth/api-key", json=body, headers=admin())
        assert (response.status_code, response.json()["code"]) == (400, code)


async def test_revoking_what_is_not_there(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        response = await http.delete("/auth/api-key/key_none", headers=admin())
        assert (response.status_code, response.json()["code"]) == (404, "key_unknown")


async def issued(http: AsyncTestClient[Litestar], **body: Any) -> dict[str, Any]:
    body = {"user_id": "rui", "tier": "pro"} | body
    response = await http.post("/auth/api-key", json=body, headers=admin())
    assert response.status_code == 201, response.text
    key: dict[str, Any] = response.json()
    return key


async def test_a_key_is_shown_and_changed(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        key = await issued(http, limits={"streams": 2})
        assert key["scopes"] == ["stream", "transcribe", "translate"]
        address = f"/auth/api-key/{key['key_id']}"
        shown = await http.get(address, headers=admin())
        assert shown.json() == {name: key[name] for name in key if name != "api_key"}
        changes = {
            "name": "talk",
            "tier": "basic",
            "scopes": ["stream"],
            "expires_at": "2099-01-01T00:00:00Z",
            "limits": {"requests_per_minute": 5},
        }
        changed = await http.patch(address, json=changes, headers=admin())
        assert changed.status_code == 200
        assert {name: changed.json()[name] for name in changes} == changes
        assert (await http.get(address, headers=admin())).json() == changed.json()
        untouched = await http.patch(address, json={"expires_at": None}, headers=admin())
        assert untouched.json() == {**changed.json(), "expires_at": None}
        mine = {"Authorization": f"Bearer {key['api_key']}"}
        body = {"text": "Good morning.", "target": "pt", "source": "en"}
        refused = await http.post("/translate/text", json=body, headers=mine)
        assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
        assert refused.json()["scope"] == "translate"


async def test_a_key_is_rotated(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        key = await issued(http)
        address = f"/auth/api-key/{key['key_id']}/rotate"
        first = await http.post(address, headers=admin())
        assert (first.status_code, first.headers["cache-control"]) == (201, "no-store")
        rotated = first.json()
        assert rotated["key_id"] == key["key_id"]
        assert rotated["hint"] != key["hint"]
        until = datetime.fromisoformat(rotated["previous_until"]) - datetime.now(UTC)
        assert timedelta(hours=23) < until <= timedelta(hours=24)
        for secret in (key["api_key"], rotated["api_key"]):
            used = await http.post("/v1/tickets", headers={"Authorization": f"Bearer {secret}"})
            assert used.status_code == 201
        again = await http.post(address, json={"overlap_seconds": 0}, headers=admin())
        for secret, status in ((key, 401), (rotated, 401), (again.json(), 201)):
            headers = {"Authorization": f"Bearer {secret['api_key']}"}
            assert (await http.post("/v1/tickets", headers=headers)).status_code == status


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"tier": "gold"}, "invalid_request"),
        ({"name": "a\x00b"}, "invalid_request"),
        ({"name": "a\nb"}, "invalid_request"),
        ({"scopes": ["root"]}, "scope_unknown"),
        ({"limits": {"cakes": 1}}, "limit_unknown"),
        ({"limits": {"streams": -1}}, "invalid_request"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expiry_passed"),
    ],
)
async def test_impossible_changes(tmp_path: Path, body: dict[str, Any], code: str) -> None:
    async with client(tmp_path) as (http, _):
        key = await issued(http)
        address = f"/auth/api-key/{key['key_id']}"
        response = await http.patch(address, json=body, headers=admin())
        assert (response.status_code, response.json()["code"]) == (400, code)
        assert (await http.get(address, headers=admin())).json()["tier"] == "pro"


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("PATCH", ""), ("POST", "/rotate")])
async def test_what_is_not_there(tmp_path: Path, method: str, path: str) -> None:
    async with client(tmp_path) as (http, _):
        address = f"/auth/api-key/key_none{path}"
        response = await http.request(method, address, json={}, headers=admin())
        assert (response.status_code, response.json()["code"]) == (404, "key_unknown")


async def test_the_key_that_is_a_setting_is_not_rotated(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        response = await http.post("/auth/api-key/key_environment/rotate", headers=admin())
        assert (response.status_code, response.json()["code"]) == (409, "key_fixed")
