from __future__ import annotations

import asyncio
import itertools
import subprocess
from pathlib import Path
from typing import cast

import pytest

from bench.text import Log, Plan, _generate, answer, figures, page, request, texts
from tests.e2e.server import Server

RESPONSE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 15\r\n\r\n"
    b'{"cached":true}'
)


def test_texts_are_all_new_and_the_same_each_time() -> None:
    first = list(itertools.islice(texts(["Good morning.", "How are you?"], seed=1), 500))
    assert len(set(first)) == 500
    assert first == list(itertools.islice(texts(["Good morning.", "How are you?"], seed=1), 500))
    assert all(text.endswith(("good morning.", "how are you?")) for text in first)
    with pytest.raises(ValueError, match="nothing to translate"):
        next(texts([], seed=1))


def test_a_request_is_whole() -> None:
    process = cast("subprocess.Popen[bytes]", None)
    data = request(Server("127.0.0.1", 8000, "secret", Path(), process), "Olá")
    head, body = data.split(b"\r\n\r\n")
    assert head.startswith(b"POST /translate/text HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert b"Authorization: Bearer secret" in head
    assert f"Content-Length: {len(body)}".encode() in head
    assert b'"source": "en"' in body


async def test_answers_are_read_one_by_one() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(RESPONSE + b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n")
    reader.feed_eof()
    assert await answer(reader) == ("200", b'{"cached":true}')
    assert await answer(reader) == ("429", b"")
    with pytest.raises(asyncio.IncompleteReadError):
        await answer(reader)


async def test_connections_share_the_requests() -> None:
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            received.append(line)
            writer.write(RESPONSE)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()
        requests = [f"{number}\n".encode() for number in range(20)]
        plan = Plan(
            host=host, port=port, requests=requests, concurrency=3, seconds=60.0, again=False
        )
        log = await _generate(plan)
    assert sorted(received) == sorted(requests)
    assert (log.sent, log.cached, log.statuses) == (20, 20, {"200": 20})


def test_only_answers_that_are_right_count() -> None:
    log = Log(
        began=10.0,
        ended=12.0,
        waits=[0.010, 0.020, 0.030, 0.100],
        statuses={"200": 3, "503": 1},
        cached=0,
        sent=4,
    )
    row = figures(log)
    assert row["per_second"] == 1.5
    assert row["failed"] == {"503": 1}
    assert (row["p50_ms"], row["p95_ms"]) == (20.0, 100.0)
    assert row["cached"] == 0
    report = {
        "machine": {"cpu": "abacus", "cores": 2},
        "seconds": 2.0,
        "characters": 61.0,
        "rows": [{"texts": "new", "concurrency": 4, **row}],
    }
    text = page(report)
    assert "| new | 4 | 4 | 1.5 | 20.0 | 100.0 | 100.0 | 1 × 503 | 0.0 | – | – | – |" in text
