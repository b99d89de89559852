"""Uploads that nobody wants, against a real server."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import httpx
import pytest

from tests.app.support import admin, running

LIMIT = 1_000_000
SIZE = 10 * 2**30
BEGIN = b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize(
    ("key", "path", "status"),
    [
        (admin()["Authorization"], "/transcribe/audio", b"413"),
        (admin()["Authorization"], "/translate/text", b"413"),
        ("Bearer wrong", "/transcribe/audio", b"401"),
        (admin()["Authorization"], "/nothing", b"404"),
    ],
)
async def test_of_ten_gigabytes_hardly_more_than_the_limit_is_read(
    tmp_path: Path, announced: bool, key: str, path: str, status: bytes
) -> None:
    length = f"Content-Length: {SIZE}" if announced else "Transfer-Encoding: chunked"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: {key}\r\n{length}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )

    def framed(data: bytes) -> bytes:
        return data if announced else b"%x\r\n%s\r\n" % (len(data), data)

    async with running(tmp_path, max_upload_bytes=LIMIT) as (address, _, _):
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))
        writer.write(head.encode() + framed(BEGIN))
        piece = framed(b"x" * 65_536)
        sent = 0
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionError):
                while sent < SIZE:
                    writer.write(piece)
                    await writer.drain()
                    sent += len(piece)
            headers = await answer
        writer.close()
        assert headers.startswith(b"HTTP/1.1 " + status)
        assert b"connection: close" in headers.lower()
        # Some is read for the client to take notice, some lies in buffers and is never read.
        assert sent < LIMIT + 64 * 2**20


async def test_a_refusal_reaches_clients_that_send_all_before_they_listen(tmp_path: Path) -> None:
    async with (
        running(tmp_path, max_upload_bytes=LIMIT) as (address, _, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        for content, headers, status in (
            (b"x" * 8_000_000, admin(), 413),
            (b"x" * 8_000_000, {}, 401),
        ):
            files = {"file": ("a.wav", content)}
            response = await http.post("/transcribe/audio", files=files, headers=headers)
            assert response.status_code == status
            assert response.headers["connection"] == "close"


async def test_an_upload_that_stands_still_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.upload._PATIENCE_SECONDS", 0.05)
    head = (
        "POST /transcribe/audio HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
        f"Authorization: {admin()['Authorization']}\r\n"
        "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    )
    async with running(tmp_path) as (address, _, _):
        host, _, port = address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode() + BEGIN + b"x" * 1000)
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"request_timeout"' in answer


async def test_what_is_read_to_its_end_keeps_its_connection(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as (address, _, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        for content, headers, status in (
            (b"x" * 200_000, admin(), 400),
            (b"x" * 100, {}, 401),
        ):
            files = {"file": ("a.wav", content)}
            response = await http.post("/transcribe/audio", files=files, headers=headers)
            assert response.status_code == status
            assert "connection" not in response.headers
