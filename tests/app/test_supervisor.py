"""A supervisor that listens, and those that do not."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from pathlib import Path

import pytest

from app.supervisor import READY, STOPPING, notify
from tests.app.server_process import address_of, start


async def test_a_server_says_when_it_serves_and_when_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(path))
        supervisor.setblocking(False)
        loop = asyncio.get_running_loop()
        process = await start(tmp_path, NOTIFY_SOCKET=str(path))
        assert await loop.sock_recv(supervisor, 64) == READY.encode()
        assert await address_of(process)
        process.send_signal(signal.SIGTERM)
        assert await loop.sock_recv(supervisor, 64) == STOPPING.encode()
        await process.communicate()
        assert process.returncode == 0


def test_an_abstract_address(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"surtitle-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(f"\0{name}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify(READY)
        assert supervisor.recv(64) == READY.encode()


@pytest.mark.parametrize("address", [None, "", "vsock:2:1234", "/nobody/listens/here"])
def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, address: str | None) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if address is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
    notify(READY)


def test_a_supervisor_that_does_not_read_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        for _ in range(2000):
            notify(READY)
        assert supervisor.recv(64) == READY.encode()
