"""A real Redis server for tests: started on a free port, stopped, killed and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

REQUIRE = "SURTITLE_REQUIRE_REDIS"


class RedisServer:
    """One server with an append-only file, so that what it knew outlives a restart."""

    def __init__(self, binary: str, directory: Path) -> None:
        self._binary = binary
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *arguments: str) -> None:
        """Start, and wait until it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._directory),
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
        }
        command = [self._binary]
        for name, value in options.items():
            command += [f"--{name}", value]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([*command, *arguments], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_text = (self._directory / "redis.log").read_text()
                raise RuntimeError(f"redis-server did not start:\n{log_text}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def stop(self) -> None:
        """Stop, at once; what was written stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def redis_server(directory: Path) -> RedisServer:
    """A server, not started yet. Without the binary: skip, or fail where it is required."""
    binary = shutil.which("redis-server")
    if binary is None:
        if os.environ.get(REQUIRE):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    return RedisServer(binary, directory)
