"""JSON nested to no end is a mistake of the client's, told as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.support import client

DEEP = 20_000


@pytest.mark.parametrize(
    "body",
    [
        b'{"text": ' + b"[" * DEEP,
        b'{"text": ' + b"[" * DEEP + b"]" * DEEP + b', "target": "pt"}',
        b'{"target": "pt", "text": "Hello.", "more": '
        + b'{"a":' * DEEP
        + b"1"
        + b"}" * DEEP
        + b"}",
    ],
)
async def test_deep_json_is_refused(tmp_path: Path, body: bytes) -> None:
    async with client(tmp_path) as (http, _):
        answer = await http.post(
            "/translate/text", content=body, headers={"content-type": "application/json"}
        )
    assert answer.status_code == 400
    assert answer.json()["code"]
