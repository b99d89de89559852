from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from app.logging import Redact, configure
from guards.secrets import mint


@pytest.fixture
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_credentials_are_masked_at_any_depth() -> None:
    key = mint()
    event = Redact(["chosen-key"])(
        None,
        "info",
        {
            "event": f"GET /v1/stream?ticket=tk_abc&x=1 with {key}",
            "headers": {"Authorization": "Bearer abc", "accept": "text/html"},
            "list": [f"bearer {key}", ("chosen-key",)],
            "bytes": b"X-API-Key=chosen-key",
            "error": ValueError(key),
            "token": "a-token",
            "query": "x=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl&y=1",
            "ticket": "anything",
            "seconds": 1.5,
        },
    )
    text = json.dumps(event)
    for secret in (key, "tk_abc", "Bearer abc", "chosen-key", "anything", "a-token", "c2lnbmF0"):
        assert secret not in text
    assert event["headers"]["accept"] == "text/html"
    assert event["seconds"] == 1.5
    assert "&x=1" in event["event"]


@pytest.mark.usefixtures("_restored")
def test_the_libraries_entries_are_masked_too(capsys: pytest.CaptureFixture[str]) -> None:
    key = mint()
    configure(level="info", form="json", secrets=[])
    logging.getLogger("some.library").warning("GET /?api_key=%s", key)
    structlog.get_logger("ours").info("said", api_key=key, plain="yes")
    try:
        int(key)
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"].split()[0] for line in lines] == ["GET", "said", "failed"]
    assert key not in json.dumps(lines)
    assert lines[1]["plain"] == "yes"
    assert "ValueError" in lines[2]["exception"]
