"""Refused WebSocket handshakes, on real servers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.typing import Origin

from tests.app.support import ADMIN_KEY, admin, running

# Uvicorn's oldest WebSocket layer is on its way out, and says so when it is imported.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::uvicorn.config.UvicornDeprecationWarning"),
]

SERVERS = ("websockets-sansio", "wsproto", "websockets")


async def refused(address: str, path: str = "/v1/stream", **options: Any) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://{address}{path}", **options):
            pass
    response = caught.value.response
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.body is not None
    body = json.loads(response.body)
    assert body["status"] == response.status_code
    assert body["request_id"] == response.headers["x-request-id"]
    return response


def code(response: Response) -> str:
    assert response.body is not None
    return str(json.loads(response.body)["code"])


@pytest.mark.parametrize("ws", SERVERS)
async def test_no_credential(tmp_path: Path, ws: str) -> None:
    async with running(tmp_path, ws=ws) as (address, _, _):
        response = await refused(address)
        assert response.status_code == 401
        assert code(response) == "authentication_required"
        assert response.headers["www-authenticate"] == 'Bearer realm="surtitle"'


@pytest.mark.parametrize("ws", SERVERS)
async def test_draining(tmp_path: Path, ws: str) -> None:
    async with running(tmp_path, ws=ws) as (address, fakes, _):
        fakes.services.draining = True
        response = await refused(address, additional_headers=admin())
        assert response.status_code == 503
        assert code(response) == "draining"
        assert response.headers["retry-after"] == "5"


async def test_not_ready_yet(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        fakes.services.ready = False
        response = await refused(address, additional_headers=admin())
        assert (response.status_code, code(response)) == (503, "starting")


async def test_a_wrong_key(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, _, _):
        response = await refused(address, additional_headers={"Authorization": "Bearer wrong"})
        assert (response.status_code, code(response)) == (401, "invalid_credential")
        assert 'error="invalid_token"' in response.headers["www-authenticate"]
        response = await refused(address, additional_headers={"Authorization": "Basic eA=="})
        assert (response.status_code, code(response)) == (401, "invalid_credential")


async def test_a_lasting_key_in_the_address(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        for query in (f"api_key={ADMIN_KEY}", f"token={ADMIN_KEY}", f"ticket={fakes.key}"):
            response = await refused(address, f"/v1/stream?{query}")
            assert (response.status_code, code(response)) == (400, "credential_in_query")


async def test_a_foreign_page(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, _, _):
        response = await refused(
            address, origin=Origin("https://evil.example"), additional_headers=admin()
        )
        assert (response.status_code, code(response)) == (403, "origin_forbidden")


async def test_an_unknown_path(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, _, _):
        response = await refused(address, "/v1/nothing", additional_headers=admin())
        assert (response.status_code, code(response)) == (404, "not_found")


async def test_a_used_ticket(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        principal = await fakes.services.keyring.authenticate(fakes.key)
        ticket = await fakes.services.tickets.issue(principal)
        async with connect(f"ws://{address}/v1/stream?ticket={ticket}"):
            pass
        response = await refused(address, f"/v1/stream?ticket={ticket}")
        assert (response.status_code, code(response)) == (401, "invalid_credential")


async def test_a_ticket_of_a_key_that_was_revoked_since(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        principal = await fakes.services.keyring.authenticate(fakes.key)
        ticket = await fakes.services.tickets.issue(principal)
        await fakes.services.keyring.revoke(principal.key_id)
        response = await refused(address, f"/v1/stream?ticket={ticket}")
        assert (response.status_code, code(response)) == (401, "key_revoked")


async def test_what_is_accepted(tmp_path: Path) -> None:
    async with running(tmp_path, allowed_origins=("https://talks.example",)) as (address, _, _):
        url = f"ws://{address}/v1/stream"
        async with connect(url, additional_headers=admin()) as socket:
            assert socket.response is not None
            assert socket.response.headers["x-request-id"]
        async with connect(url, additional_headers={"X-API-Key": ADMIN_KEY}):
            pass
        async with connect(url, additional_headers=admin(), origin=Origin("https://talks.example")):
            pass
        async with connect(url, additional_headers=admin(), origin=Origin(f"http://{address}")):
            pass
