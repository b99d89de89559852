from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from guards.credentials import BEARER_SUBPROTOCOL, SUBPROTOCOL
from tests.app.support import admin, client, running
from tests.guards.signing import key_set, rsa_jwk, sign


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


async def test_a_token_is_as_good_as_its_key(tmp_path: Path) -> None:
    async with client(tmp_path, token_seconds=600) as (http, _):
        response = await http.post("/auth/token")
        assert (response.status_code, response.headers["cache-control"]) == (201, "no-store")
        assert response.json()["expires_in"] == 600
        token = response.json()["token"]
        del http.headers["Authorization"]
        for headers in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}):
            body = {"text": "Good morning.", "target": "pt", "source": "en"}
            answer = await http.post("/translate/text", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            again = await http.post("/auth/token", headers=headers)
            assert (again.status_code, again.json()["code"]) == (403, "forbidden")


async def test_a_token_may_be_narrower_and_shorter(tmp_path: Path) -> None:
    async with client(tmp_path, token_seconds=600) as (http, _):
        body = {"scopes": ["stream"], "expires_in": 60}
        response = await http.post("/auth/token", json=body)
        assert response.json()["expires_in"] == 60
        mine = {"Authorization": f"Bearer {response.json()['token']}"}
        assert (await http.post("/v1/tickets", headers=mine)).status_code == 201
        refused = await http.post("/translate/text", json={}, headers=mine)
        assert (refused.status_code, refused.json()["scope"]) == (403, "translate")
        longest = await http.post("/auth/token", json={"expires_in": 86_400})
        assert longest.json()["expires_in"] == 600


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"scopes": ["admin"]}, 403, "forbidden"),
        ({"scopes": ["root"]}, 400, "scope_unknown"),
        ({"expires_in": 0}, 400, "invalid_request"),
        ([], 400, "invalid_request"),
    ],
)
async def test_impossible_tokens(tmp_path: Path, body: Any, status: int, code: str) -> None:
    async with client(tmp_path) as (http, _):
        response = await http.post("/auth/token", json=body)
        assert (response.status_code, response.json()["code"]) == (status, code)


async def test_a_browser_may_offer_its_credential_as_a_subprotocol(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        principal = await fakes.services.keyring.authenticate(fakes.key)
        for secret in (fakes.key, fakes.services.tokens.issue(principal)):
            offers = [Subprotocol(SUBPROTOCOL), Subprotocol(BEARER_SUBPROTOCOL + secret)]
            async with connect(f"ws://{address}/v1/stream", subprotocols=offers) as socket:
                assert socket.subprotocol == SUBPROTOCOL
                assert socket.response is not None
                assert secret not in str(socket.response.headers)


async def test_a_subprotocol_is_answered_only_if_it_was_offered(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        url = f"ws://{address}/v1/stream"
        secret = Subprotocol(BEARER_SUBPROTOCOL + fakes.key)
        for offers in ([secret], [Subprotocol("other"), secret]):
            async with connect(url, subprotocols=offers) as socket:
                assert socket.subprotocol is None
        async with connect(url, additional_headers=admin()) as socket:
            assert socket.subprotocol is None
        with pytest.raises(InvalidStatus) as caught:
            async with connect(url, subprotocols=[Subprotocol(f"{BEARER_SUBPROTOCOL}wrong")]):
                pass
        assert caught.value.response.status_code == 401


async def test_wrong_credentials_make_an_address_wait(tmp_path: Path) -> None:
    async with client(tmp_path, login_failures_per_minute=3) as (http, _):
        wrong = {"Authorization": "Bearer wrong"}
        for _ in range(3):
            assert (await http.post("/v1/tickets", headers=wrong)).status_code == 401
        for headers in (wrong, admin()):
            refused = await http.post("/v1/tickets", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (429, "too_many_failures")
            assert int(refused.headers["retry-after"]) >= 1
        assert (await http.get("/health")).status_code == 200


async def test_having_no_credential_is_no_failure(tmp_path: Path) -> None:
    async with client(tmp_path, login_failures_per_minute=1) as (http, _):
        del http.headers["Authorization"]
        for _ in range(3):
            assert (await http.post("/v1/tickets")).status_code == 401
        assert (await http.post("/v1/tickets", headers=admin())).status_code == 201


@pytest.mark.parametrize(
    ("trusted", "second"), [(("127.0.0.1",), 201), (("10.0.0.0/8",), 429), ((), 429)]
)
async def test_addresses_behind_a_proxy(
    tmp_path: Path, trusted: tuple[str, ...], second: int
) -> None:
    settings: dict[str, Any] = {"trusted_proxies": trusted, "login_failures_per_minute": 1}
    async with (
        running(tmp_path, **settings) as (address, fakes, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):

        async def ask(client: str, key: str) -> int:
            headers = {"X-Forwarded-For": client, "X-API-Key": key}
            return (await http.post("/v1/tickets", headers=headers)).status_code

        assert await ask("192.0.2.1", "wrong") == 401
        assert await ask("192.0.2.1", fakes.key) == 429
        assert await ask("192.0.2.2", fakes.key) == second


async def test_users_of_an_external_issuer_need_no_key(tmp_path: Path) -> None:
    """Its keys are fetched over HTTP, as from a real issuer."""
    document = key_set(rsa_jwk("idp", private=False))
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(document)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + document)
        await writer.drain()
        writer.close()

    issuer = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = issuer.sockets[0].getsockname()[1]
    settings: dict[str, Any] = {
        "jwks_url": f"http://127.0.0.1:{port}/jwks",
        "jwks_issuer": "https://id.example/",
        "jwks_audience": "captions",
        "jwks_tier": "pro",
    }
    now = int(time.time())
    claims = {
        "iss": "https://id.example/",
        "aud": "captions",
        "sub": "rui",
        "scope": "stream",
        "exp": now + 600,
    }
    async with (
        issuer,
        running(tmp_path, **settings) as (address, fakes, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):

        async def ticket(token: str) -> httpx.Response:
            headers = {"Authorization": f"Bearer {token}"}
            return await http.post("/v1/tickets", headers=headers)

        for _ in range(3):
            issued = await ticket(sign(claims, rsa_jwk("idp")))
            assert issued.status_code == 201, issued.text
        principal = await fakes.services.tickets.take(issued.json()["ticket"])
        assert principal.user_id == "https://id.example/|rui"
        assert principal.tier == "pro"
        unknown = await ticket(sign(claims, rsa_jwk("other")))
        assert (unknown.status_code, unknown.json()["code"]) == (401, "invalid_credential")
        narrow = await ticket(sign({**claims, "scope": "translate"}, rsa_jwk("idp")))
        assert (narrow.status_code, narrow.json()["code"]) == (403, "forbidden")
        assert asked == 1


async def test_an_issuer_that_is_away_is_no_fault_of_the_token(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "jwks_url": "http://127.0.0.1:1/jwks",
        "jwks_issuer": "https://id.example/",
        "login_failures_per_minute": 1,
    }
    claims = {"iss": "https://id.example/", "aud": "surtitle", "sub": "rui", "exp": 2**40}
    async with client(tmp_path, **settings) as (http, _):
        headers = {"Authorization": f"Bearer {sign(claims, rsa_jwk('idp'))}"}
        for _ in range(2):
            away = await http.post("/v1/tickets", headers=headers)
            assert (away.status_code, away.json()["code"]) == (503, "issuer_unavailable")
            assert int(away.headers["retry-after"]) >= 1
        assert (await http.post("/v1/tickets")).status_code == 201
