"""A real Redis server for tests: started on a free port, stopped, killed and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

REQUIRE = "SURTITLE_REQUIRE_REDIS"
KINDS = ("redis", "cluster", "sentinel")


class RedisServer:
    """One server with an append-only file, so that what it knew outlives a restart.

    A ``cluster`` has all slots on the one node, and refuses what touches several all the same.
    ``fsync`` is ``always``, so that it may be killed at any time, or ``everysec`` as most have it.
    Without ``append`` it begins with the copy that is in its directory.
    """

    def __init__(
        self,
        binary: str,
        directory: Path,
        *,
        cluster: bool = False,
        fsync: str = "always",
        append: bool = True,
    ) -> None:
        self._binary = binary
        self._directory = directory
        self._cluster = cluster
        self._fsync = fsync
        self._append = append
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()

    @property
    def url(self) -> str:
        if self._cluster:
            return f"redis+cluster://127.0.0.1:{self.port}"
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start, and wait until it answers."""
        options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._directory),
            "appendonly": "yes" if self._append else "no",
            "appendfsync": self._fsync,
            "save": "",
        }
        if self._cluster:
            # Its default, ten thousand above the other port, may be no port at all.
            options |= {"cluster-enabled": "yes", "cluster-port": str(free_port())}
        command = [self._binary]
        for name, value in options.items():
            command += [f"--{name}", value]
        self._run(command)
        if self._cluster:
            self.ask("CLUSTER ADDSLOTSRANGE 0 16383")
            while "cluster_state:ok" not in self.ask("CLUSTER INFO"):
                time.sleep(0.01)

    def _run(self, command: list[str]) -> None:
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self.ask("PING").startswith("+PONG"):
            if self._process.poll() is not None or time.monotonic() > deadline:
                log_text = (self._directory / "redis.log").read_text()
                raise RuntimeError(f"redis-server did not start:\n{log_text}")
            time.sleep(0.01)

    def ask(self, command: str) -> str:
        """The beginning of the answer to a command; nothing when there is none."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                connection.sendall(f"{command}\r\n".encode())
                return connection.recv(4096).decode()
        except OSError:
            return ""

    def stop(self) -> None:
        """Stop, at once; what was written stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Sentinel(RedisServer):
    """A Sentinel that watches one server, under the name ``main``."""

    def __init__(self, binary: str, directory: Path, watched: RedisServer) -> None:
        super().__init__(binary, directory)
        self._watched = watched

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/main"

    def start(self) -> None:
        """Start it, and the server that it watches."""
        self._watched.start()
        path = self._directory / "sentinel.conf"
        path.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self._directory}\n"
            f"sentinel monitor main 127.0.0.1 {self._watched.port} 1\n"
        )
        self._run([self._binary, str(path), "--sentinel"])

    def stop(self) -> None:
        super().stop()
        self._watched.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running_redis(directory: Path, *, append: bool = True) -> Iterator[RedisServer]:
    """A ``redis`` of one's own, started, to be stopped and started again; in a directory that is
    made unless it is there.
    """
    directory.mkdir(exist_ok=True)
    server = redis_server(directory, append=append)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def redis_server(directory: Path, kind: str = "redis", *, append: bool = True) -> RedisServer:
    """A ``redis``, a ``cluster`` or a ``sentinel``, not started yet.

    Without the binary: skip, or fail where it is required.
    """
    binary = shutil.which("redis-server")
    if binary is None:
        if os.environ.get(REQUIRE):
            pytest.fail("redis-server is not installed")
        pytest.skip("redis-server is not installed")
    if kind == "sentinel":
        watched = directory / "watched"
        watched.mkdir()
        return Sentinel(binary, directory, RedisServer(binary, watched))
    return RedisServer(binary, directory, cluster=kind == "cluster", append=append)
