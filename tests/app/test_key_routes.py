from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

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


async def test_a_ticket(tmp_path: Path) -> None:
    async with client(tmp_path, ticket_seconds=30) as (http, fakes):
        response = await http.post("/v1/tickets")
        assert response.status_code == 201
        assert response.headers["cache-control"] == "no-store"
        assert response.json()["expires_in"] == 30
        assert (await fakes.services.tickets.take(response.json()["ticket"])).user_id == "ana"


async def test_a_ticket_is_for_websockets_only(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        ticket = (await http.post("/v1/tickets")).json()["ticket"]
        del http.headers["Authorization"]
        response = await http.post(f"/translate/text?ticket={ticket}", json={})
        assert response.status_code == 401
