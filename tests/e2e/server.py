"""The real server as a process of its own, with real models."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

ADMIN_KEY = "admin-key-for-the-end-to-end-tests-0123456789"
READY_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    host: str
    port: int
    key: str
    log: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def stream_url(self) -> str:
        return f"ws://{self.host}:{self.port}/v1/stream"

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ALL_COMERS = {"SURTITLE_CAPACITY_STRAIN": "1"}
"""Settings of a server that takes several streams at once, however slow its machine is."""

SURTITLE = [str(Path(sys.executable).with_name("surtitle")), "serve"]


@contextmanager
def serving(
    folder: Path, command: Sequence[str] = SURTITLE, ready: bool = True, /, **variables: str
) -> Iterator[Server]:
    """Start ``surtitle serve`` with its data in a folder; wait until it is ready; stop it.

    The stop is SIGTERM, and the server must leave with 0; a test may have killed it before.
    """
    port = free_port()
    log = folder / "server.log"
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("SURTITLE_")},
        "SURTITLE_PORT": str(port),
        "SURTITLE_DATA_DIR": str(folder / "data"),
        "SURTITLE_ADMIN_KEY": ADMIN_KEY,
        "SURTITLE_LOG_FORMAT": "json",
        "HF_HUB_OFFLINE": "1",
        **variables,
    }
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=out, stderr=subprocess.STDOUT
        )
    server = Server("127.0.0.1", port, ADMIN_KEY, log, process)
    try:
        if ready:
            _wait_until_ready(server)
        yield server
    finally:
        killed = process.poll() == -signal.SIGKILL
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the server did not stop:\n{log.read_text()[-3000:]}") from None
    assert code == 0 or killed, f"the server left with {code}:\n{log.read_text()[-3000:]}"


def _wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        assert server.process.poll() is None, f"the server died:\n{server.log.read_text()}"
        try:
            if httpx.get(f"{server.url}/health/simple", timeout=2).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the server is not ready:\n{server.log.read_text()}")
