"""No secret that the real server was given or gave away is found anywhere afterwards."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from guards.credentials import BEARER_SUBPROTOCOL, SUBPROTOCOL
from tests.e2e.server import Server, serving
from tests.guards.signing import key_set, oct_jwk

pytestmark = pytest.mark.e2e

CHOSEN = "correct-horse-battery-staple-0123456789"
SIGNING = b"the secret that tokens are signed with!!"


class Watch:
    """Talks to the server, and keeps what it says, but for what gives a secret away on purpose."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.said: list[str] = []
        self.http = httpx.Client(base_url=server.url, timeout=60)

    def ask(self, method: str, path: str, key: str | None, **options: Any) -> httpx.Response:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        response = self.http.request(
            method, path, headers={**headers, **options.pop("headers", {})}, **options
        )
        self.said.append(f"{response.headers} {response.text}")
        return response

    def given(self, path: str, key: str, member: str) -> tuple[str, dict[str, Any]]:
        """A secret that the server gives away this once, and what came with it."""
        response = self.ask("POST", path, key, json={"user_id": "ana", "tier": "pro"})
        self.said.pop()
        body: dict[str, Any] = response.json()
        secret: str = body.pop(member)
        self.said.append(json.dumps(body))
        return secret, body

    async def stream(self, query: str = "", **options: Any) -> None:
        """A stream, or the refusal of one."""
        try:
            async with connect(self.server.stream_url + query, **options) as socket:
                self.said.append(str(socket.response))
                await socket.send(json.dumps({"type": "start", "source": "en"}))
                await socket.send(b"\0" * 32_000)
                await socket.send(json.dumps({"type": "stop"}))
                self.said += [str(message) async for message in socket]
        except InvalidStatus as refusal:
            self.said.append(f"{refusal.response.headers} {refusal.response.body!r}")


def test_secrets_are_nowhere_in_clear(tmp_path: Path) -> None:
    keys = tmp_path / "jwt.json"
    signing = oct_jwk("2026", SIGNING)
    keys.write_bytes(key_set(signing))
    folder = tmp_path / "server"
    folder.mkdir()
    settings = {
        "SURTITLE_ADMIN_KEY": CHOSEN,
        "SURTITLE_JWT_KEYS": str(keys),
        "SURTITLE_LOG_LEVEL": "debug",
    }
    with serving(folder, **settings) as server:
        watch = Watch(server)
        key, issued = watch.given("/auth/api-key", CHOSEN, "api_key")
        new, _ = watch.given(f"/auth/api-key/{issued['key_id']}/rotate", CHOSEN, "api_key")
        token, _ = watch.given("/auth/token", key, "token")
        ticket, _ = watch.given("/v1/tickets", key, "ticket")
        unused, _ = watch.given("/v1/tickets", new, "ticket")
        wrong = "sk_surtitle_" + "Z" * 49
        secrets = [CHOSEN, key, new, token, ticket, unused, wrong]

        for secret in secrets:
            basic = base64.b64encode(f"ana:{secret}".encode()).decode()
            watch.ask("POST", "/translate/text", secret, json={"text": "Hi.", "target": "pt"})
            watch.ask("POST", "/translate/text", secret, content=b"{")
            watch.ask("GET", "/v1/usage", None, headers={"X-API-Key": secret})
            watch.ask("GET", "/v1/usage", None, headers={"Authorization": f"Basic {basic}"})
            watch.ask("GET", "/v1/usage", None, headers={"Authorization": f"Token {secret}"})
            watch.ask("GET", f"/v1/usage?api_key={secret}", None)
            watch.ask("GET", f"/health?x={secret}", None)
            # Where people put a key by mistake.
            watch.ask("DELETE", f"/auth/api-key/{secret}", CHOSEN)
            watch.ask("GET", f"/auth/api-key/{secret}", CHOSEN)
            watch.ask("DELETE", f"/admin/sessions/{secret}", CHOSEN)
            watch.ask("POST", "/admin/limits/reset", CHOSEN, json={"address": secret})
            watch.ask("POST", "/auth/api-key", CHOSEN, json={"user_id": secret, "tier": secret})
        asyncio.run(streams(watch, secrets, ticket))
        watch.ask("POST", "/transcribe/audio", key, files={"file": (f"{key}.wav", b"no sound")})
        for path in ("/auth/api-key", "/admin/audit", "/admin/sessions", "/health", "/schema"):
            watch.ask("GET", path, CHOSEN)
        watch.ask("DELETE", f"/auth/api-key/{issued['key_id']}", CHOSEN)
        watch.ask("GET", "/admin/audit", CHOSEN)
        watch.http.close()

    pepper = (folder / "data" / "pepper").read_bytes()
    secrets += [SIGNING.decode(), signing["k"], pepper.hex()]
    secrets += [base64.b64encode(f"ana:{secret}".encode()).decode() for secret in secrets]
    places = {"what it said": "\n".join(watch.said).encode()}
    for file in folder.rglob("*"):
        if file.is_file():
            places[str(file.relative_to(folder))] = file.read_bytes()
    assert len(places["what it said"]) > 10_000
    assert places["server.log"].count(b"\n") > 100
    assert {"data/surtitle.db", "data/pepper"} <= set(places)
    found = [
        (place, content[max(0, at - 200) : at + 100])
        for place, content in places.items()
        for secret in secrets
        if (at := content.find(secret.encode())) >= 0
    ]
    assert found == []
    assert [place for place, content in places.items() if pepper in content] == ["data/pepper"]


async def streams(watch: Watch, secrets: list[str], ticket: str) -> None:
    await watch.stream(f"?ticket={ticket}")
    for secret in secrets:
        await watch.stream(additional_headers={"Authorization": f"Bearer {secret}"})
        await watch.stream(f"?ticket={secret}")
        await watch.stream(f"?token={secret}")
        offers = [Subprotocol(SUBPROTOCOL), Subprotocol(BEARER_SUBPROTOCOL + secret)]
        await watch.stream(subprotocols=offers)
