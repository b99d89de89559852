"""Every route and the WebSocket × every kind of credential, on a real server.

The routes are those of the application itself: one that is added must be added here, too.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from litestar import Litestar
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app.factory import create_app
from app.settings import load
from guards.principal import ADMIN, METRICS, SCOPES, STREAM, TRANSCRIBE, TRANSLATE, WORK, Tier
from inference.fakes import silence
from tests.app.support import Fakes, running, wav
from tests.guards.signing import ec_jwk, key_set, oct_jwk, rsa_jwk, sign


@dataclass(frozen=True)
class Route:
    """A route, the scope it needs (none: any; "": no credential), and what a right call answers."""

    method: str
    path: str
    scope: str | None
    status: int
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


KEY: Final = "key_environment"
TEXT: Final = {"text": "Good morning.", "source": "en", "target": "pt"}

ROUTES: Final = (
    Route("GET", "/", "", 200),
    Route("GET", "/demo/{name}", "", 200),
    Route("GET", "/languages", "", 200),
    Route("GET", "/health", "", 200),
    Route("GET", "/health/simple", "", 200),
    Route("GET", "/metrics", METRICS, 200),
    Route("GET", "/schema", "", 200),
    Route("GET", "/schema/openapi.json", "", 200),
    Route("GET", "/schema/openapi.yaml", "", 200),
    Route("GET", "/schema/openapi.yml", "", 200),
    Route("GET", "/schema/{path}", "", 404),  # the framework's, for documents there are not
    Route("GET", "/schema/protocol.json", "", 200),
    Route("GET", "/schema/asyncapi.json", "", 200),
    Route("POST", "/translate/text", TRANSLATE, 200, {"json": TEXT}),
    Route("POST", "/transcribe/audio", TRANSCRIBE, 200, {"files": {"file": wav(silence(0.5))}}),
    Route("POST", "/v1/tickets", STREAM, 201),
    Route("POST", "/auth/token", None, 201),
    Route("POST", "/auth/api-key", ADMIN, 201, {"json": {"user_id": "rui", "tier": "free"}}),
    Route("GET", "/auth/api-key", ADMIN, 200),
    Route("GET", "/auth/api-key/{key_id}", ADMIN, 200),
    Route("PATCH", "/auth/api-key/{key_id}", ADMIN, 200, {"json": {"name": "talk"}}),
    Route("POST", "/auth/api-key/{key_id}/rotate", ADMIN, 409),  # of a key that is a setting
    Route("DELETE", "/auth/api-key/{key_id}", ADMIN, 204),
    Route("GET", "/admin/sessions", ADMIN, 200),
    Route("DELETE", "/admin/sessions/{session_id}", ADMIN, 404),  # of none that runs
    Route("POST", "/admin/cache/clear", ADMIN, 200),
    Route("POST", "/admin/limits/reset", ADMIN, 204, {"json": {"key_id": KEY}}),
    Route("GET", "/admin/log-level", ADMIN, 200),
    Route("PUT", "/admin/log-level", ADMIN, 200, {"json": {"level": "info"}}),
    Route("POST", "/admin/drain", ADMIN, 202),
    Route("GET", "/admin/audit", ADMIN, 200),
    Route("GET", "/admin/usage", ADMIN, 200),
    Route("GET", "/v1/usage", None, 200),
)
GUARDED: Final = [route for route in ROUTES if route.scope != ""]
VALUES: Final = {"{name}": "app.js", "{path}": "nothing", "{session_id}": "s_none"}


async def test_no_route_is_forgotten(tmp_path: Path) -> None:
    app: Litestar = create_app(load(data_dir=tmp_path))
    there = {
        (method, route.path_format)
        for route in app.routes
        for method in getattr(route, "methods", ())
        if method in ("GET", "POST", "PUT", "PATCH", "DELETE")
    }
    assert there == {(route.method, route.path) for route in ROUTES}


@dataclass
class Server:
    """A running server, and a credential of every kind."""

    address: str
    http: httpx.AsyncClient
    fakes: Fakes
    wrong: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    """Kind → credential, status, code."""
    expendable: str = ""
    """The id of a key that nobody needs."""

    async def key(self, scopes: frozenset[str] = WORK, **options: Any) -> tuple[str, str]:
        key, record = await self.fakes.services.keyring.issue(
            user_id="ana", tier=Tier.ENTERPRISE, scopes=scopes, **options
        )
        return key, record.key_id

    async def ask(self, route: Route, credential: str | None) -> httpx.Response:
        path = route.path.replace(
            "{key_id}", KEY if route.path.endswith("/rotate") else self.expendable
        )
        for name, value in VALUES.items():
            path = path.replace(name, value)
        headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        return await self.http.request(route.method, path, headers=headers, **route.options)

    async def shake(self, credential: str | None) -> tuple[int, str]:
        """A WebSocket handshake: the status and the code."""
        headers = {} if credential is None else {"Authorization": f"Bearer {credential}"}
        url = f"ws://{self.address}/v1/stream"
        try:
            async with connect(url, additional_headers=headers) as socket:
                await socket.send(json.dumps({"type": "start"}))
                return 101, str(json.loads(await socket.recv())["type"])
        except InvalidStatus as refusal:
            response = refusal.response
        body = json.loads(response.body or b"")
        assert response.headers["content-type"] == "application/problem+json"
        assert body["status"] == response.status_code
        return response.status_code, str(body["code"])


def unsigned(token: str) -> str:
    """The token with the algorithm ``none``, and no signature."""
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT","kid":"rsa"}').rstrip(b"=")
    return f"{header.decode()}.{token.split('.')[1]}."


def tampered(token: str) -> str:
    """The token with a wider scope, and the signature it had."""
    head, body, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    wider = json.dumps({**claims, "scope": " ".join(sorted(SCOPES))}).encode()
    return f"{head}.{base64.urlsafe_b64encode(wider).rstrip(b'=').decode()}.{signature}"


@asynccontextmanager
async def serving(tmp_path: Path) -> AsyncIterator[Server]:
    path = tmp_path / "keys.json"
    path.write_bytes(key_set(rsa_jwk(), ec_jwk()))
    settings: dict[str, Any] = {"jwt_keys": path, "login_failures_per_minute": 0}
    async with (
        running(tmp_path, **settings) as (address, fakes, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        server = Server(address, http, fakes)
        keyring = fakes.services.keyring
        now = int(time.time())
        good, key_id = await server.key(SCOPES)
        principal = await keyring.authenticate(good)
        token = fakes.services.tokens.issue(principal)
        claims = {
            "iss": "surtitle",
            "aud": "surtitle",
            "sub": "ana",
            "key": key_id,
            "scope": "stream translate transcribe admin",
            "iat": now,
            "nbf": now,
            "exp": now + 600,
        }
        past = datetime.now(UTC) - timedelta(seconds=1)
        expired, _ = await server.key(SCOPES, expires_at=past)
        revoked, revoked_id = await server.key(SCOPES)
        revoked_token = fakes.services.tokens.issue(await keyring.authenticate(revoked))
        await keyring.revoke(revoked_id)
        rotated, rotated_id = await server.key(SCOPES)
        await keyring.rotate(rotated_id, overlap=0)
        foreign = "invalid_credential"
        server.wrong = {
            "wrong key": ("sk_surtitle_wrong", 401, foreign),
            "unknown key": ("no-key-of-ours", 401, foreign),
            "expired key": (expired, 401, "expired_credential"),
            "rotated key": (rotated, 401, "expired_credential"),
            "revoked key": (revoked, 401, "key_revoked"),
            "token of a revoked key": (revoked_token, 401, "key_revoked"),
            "expired token": (
                sign({**claims, "exp": now - 60}, rsa_jwk()),
                401,
                "expired_credential",
            ),
            "early token": (sign({**claims, "nbf": now + 600}, rsa_jwk()), 401, foreign),
            "other audience": (sign({**claims, "aud": "others"}, rsa_jwk()), 401, foreign),
            "other issuer": (sign({**claims, "iss": "others"}, rsa_jwk()), 401, foreign),
            "other key": (sign(claims, ec_jwk("rsa")), 401, foreign),
            "unknown kid": (sign(claims, rsa_jwk("old")), 401, foreign),
            "wrong algorithm": (sign(claims, oct_jwk("rsa")), 401, foreign),
            "alg none": (unsigned(token), 401, foreign),
            "tampered": (tampered(token), 401, foreign),
            "a ticket": (await fakes.services.tickets.issue(principal), 401, foreign),
        }
        _, server.expendable = await server.key()
        yield server


async def test_without_a_right_credential_nothing_is_given(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        seen = {}
        for route in GUARDED:
            response = await server.ask(route, None)
            assert (response.status_code, response.json()["code"]) == (
                401,
                "authentication_required",
            ), route
            assert response.headers["www-authenticate"] == 'Bearer realm="surtitle"'
            for kind, (credential, status, code) in server.wrong.items():
                response = await server.ask(route, credential)
                body = response.json()
                assert (response.status_code, body["code"]) == (status, code), (route, kind)
                assert response.headers["content-type"] == "application/problem+json"
                assert response.headers["www-authenticate"].endswith('error="invalid_token"')
                assert body["status"] == status
                assert credential not in response.text
                seen[kind] = code
        assert await server.shake(None) == (401, "authentication_required")
        for kind, (credential, status, code) in server.wrong.items():
            assert await server.shake(credential) == (status, code), kind
            assert seen[kind] == code


@pytest.mark.parametrize("held", sorted(SCOPES))
async def test_a_scope_opens_its_routes_and_no_other(tmp_path: Path, held: str) -> None:
    async with serving(tmp_path) as server:
        key, _ = await server.key(frozenset({held}))
        principal = await server.fakes.services.keyring.authenticate(key)
        token = server.fakes.services.tokens.issue(principal)
        # Draining and revoking come last: nothing else works afterwards.
        order = sorted(GUARDED, key=lambda route: (route.method == "DELETE", "drain" in route.path))
        for credential in (key, token):
            allowed = held in (STREAM, ADMIN)
            expected = (101, "ready") if allowed else (403, "forbidden")
            assert await server.shake(credential) == expected
            for route in order:
                if "drain" in route.path and credential is key:
                    continue
                response = await server.ask(route, credential)
                if route.scope in (None, held) or held == ADMIN:
                    # A token is exchanged for no other.
                    is_token = route.path == "/auth/token" and credential is token
                    assert response.status_code == (403 if is_token else route.status), route
                else:
                    body = response.json()
                    assert (response.status_code, body["code"]) == (403, "forbidden"), route
                    assert body["scope"] == route.scope


async def test_what_is_for_everybody_needs_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for route in ROUTES:
            if route.scope == "":
                assert (await server.ask(route, None)).status_code == route.status, route
