"""Starts a server as its operator would, as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.load import rivals
from tests.e2e.server import free_port, serving

KINDS = ("surtitle", *rivals.KINDS)
_START_SECONDS = 180
_STOP_SECONDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server to measure."""

    kind: str
    """How to speak to it: a name of :data:`bench.load.dialects.DIALECTS`."""
    url: str
    """Of the WebSocket."""
    http: str | None = None
    """Of its REST interface, where it is known."""
    key: str | None = None
    pid: int | None = None
    """None where it runs on another machine."""

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def health(self) -> str | None:
        return f"{self.http}/health/simple" if self.http else None


@contextmanager
def started(
    kind: str, folder: Path, *, model: Path, installed: Path | None, variables: Mapping[str, str]
) -> Iterator[Target]:
    """Start a server of :data:`KINDS`, wait until it listens, and stop it in the end.

    ``folder`` is for its log and data; ``model`` the directory of the model that it loads,
    ``installed`` where rivals are. ``variables`` are added to its environment.
    """
    if kind == "surtitle":
        with serving(folder, **{"SURTITLE_ASR_MODEL": str(model), **variables}) as server:
            yield Target(
                kind=kind,
                url=server.stream_url,
                http=server.url,
                key=server.key,
                pid=server.process.pid,
            )
        return
    if installed is None:
        raise ValueError(f"{kind} is not part of this project: say where it is installed")
    port = free_port()
    command = rivals.command(kind, installed, port=port, model=model)
    environment = {**os.environ, **rivals.environment(installed), **variables}
    with _process(command, environment, folder, port) as process:
        dialect = rivals.dialect(kind)
        url = f"ws://127.0.0.1:{port}{rivals.PATHS[dialect]}"
        yield Target(kind=dialect, url=url, pid=process.pid)


@contextmanager
def bare(folder: Path) -> Iterator[Target]:
    """Start a server that does nothing: see :mod:`bench.load.bare`."""
    port = free_port()
    command = [sys.executable, "-m", "bench.load.bare", str(port)]
    with _process(command, dict(os.environ), folder, port) as process:
        yield Target(kind="surtitle", url=f"ws://127.0.0.1:{port}/", pid=process.pid)


@contextmanager
def _process(
    command: list[str], environment: dict[str, str], folder: Path, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    log = folder / f"{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(port, process, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server died:\n{log.read_text()[-3000:]}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server does not listen:\n{log.read_text()[-3000:]}")
