"""What the log says of each connection."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.app.observability.support import logged_as_json
from tests.app.support import admin, running


def entries(capsys: pytest.CaptureFixture[str], event: str) -> list[dict[str, Any]]:
    lines = capsys.readouterr().err.splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [line for line in found if line["event"] == event]


async def test_a_request_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged_as_json("debug"):
        async with (
            running(tmp_path) as (address, fakes, _),
            httpx.AsyncClient(base_url=f"http://{address}") as http,
        ):
            text = {"text": "alpha", "source": "en", "target": "pt"}
            key = {"Authorization": f"Bearer {fakes.key}"}
            done = await http.post("/translate/text", headers=key, json=text)
            await http.get("/auth/api-key/key_none?secret=1", headers=admin())
            await http.get("/metrics", headers=admin())
    translated, unknown, metrics = entries(capsys, "request")
    assert translated["route"] == translated["path"] == "/translate/text"
    assert (translated["method"], translated["status"]) == ("POST", 200)
    assert translated["seconds"] >= 0
    assert translated["request_id"] == done.headers["x-request-id"]
    assert translated["key_id"] == fakes.record.key_id
    assert "code" not in translated
    assert unknown["route"] == "/auth/api-key/{key_id}"
    assert (unknown["status"], unknown["code"]) == (404, "key_unknown")
    assert (translated["level"], metrics["level"]) == ("info", "debug")
    shown = json.dumps([translated, unknown, metrics])
    assert fakes.key not in shown
    assert "secret=1" not in shown
    assert "trace_id" not in shown


async def test_a_refused_handshake_says_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong: tuple[dict[str, str], ...] = ({}, {**admin(), "Origin": "https://elsewhere.example"})
    with logged_as_json("debug"):
        async with running(tmp_path) as (address, _, _):
            for headers in wrong:
                shake = connect(f"ws://{address}/v1/stream", additional_headers=headers)
                with pytest.raises(InvalidStatus):
                    await shake.__aenter__()
    nobody, elsewhere = entries(capsys, "websocket")
    assert (nobody["status"], nobody["code"]) == (401, "authentication_required")
    assert (elsewhere["status"], elsewhere["code"]) == (403, "origin_forbidden")
    assert nobody["route"] == elsewhere["route"] == "/v1/stream"
    assert nobody["request_id"] != elsewhere["request_id"]
