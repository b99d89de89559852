"""Server processes that are started, broken, killed and started again on the same port."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from tests.e2e.server import ADMIN_KEY, free_port
from tests.redis_server import RedisServer

ROOT: Final = Path(__file__).parents[2]
_READY_SECONDS: Final = 180.0
_STOP_SECONDS: Final = 60.0

_TIERS: Final = """
[admin]
requests_per_minute = 1000000
requests_per_day = 100000000
stream_per_minute = 1000000
streams = 10000
"""
"""Rate limits are tested elsewhere: here they would only hide what is behind them."""


class Process:
    """One :mod:`bench.chaos.broken` server with its data and log in a folder."""

    def __init__(self, folder: Path, name: str, **variables: str) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self.data = folder / name
        self.port = free_port()
        self._control = free_port()
        self._folder = folder
        self._variables = variables
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream_url(self) -> str:
        return stream_url(self.port)

    @property
    def key(self) -> str:
        return ADMIN_KEY

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def pid(self) -> int:
        assert self._process is not None  # noqa: S101 - a programming error
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start, and wait until it is ready. Raises ``RuntimeError``."""
        tiers = self._folder / "tiers.toml"
        tiers.write_text(_TIERS, encoding="utf-8")
        self.data.mkdir(exist_ok=True)
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SURTITLE_")},
            "CHAOS_PORT": str(self._control),
            "SURTITLE_PORT": str(self.port),
            "SURTITLE_DATA_DIR": str(self.data),
            "SURTITLE_ADMIN_KEY": ADMIN_KEY,
            "SURTITLE_TIERS_FILE": str(tiers),
            "SURTITLE_LOG_FORMAT": "json",
            "SURTITLE_ASR_REPLICAS": "2",
            # Slow machines, too, take all who speak here.
            "SURTITLE_CAPACITY_STRAIN": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(ROOT),
            **self._variables,
        }
        with self.log.open("ab") as out:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time
                [sys.executable, "-m", "bench.chaos.broken"],
                env=environment,
                cwd=self._folder,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            await until(self.ready, _READY_SECONDS, f"{self.name} is ready")
        except TimeoutError as error:
            raise RuntimeError(f"{error}:\n{self.last_words}") from None

    async def ready(self) -> bool:
        """Whether it takes streams. Raises ``RuntimeError`` when it has died."""
        if not self.running:
            raise RuntimeError(f"{self.name} died:\n{self.last_words}")
        try:
            async with httpx.AsyncClient(timeout=2) as client:
                answer = await client.get(f"{self.url}/health/simple")
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    async def sessions(self) -> list[str]:
        """The ids of the streams it says it runs."""
        async with httpx.AsyncClient(headers=self.headers, timeout=10) as client:
            answer = await client.get(f"{self.url}/admin/sessions")
        return [session["id"] for session in answer.raise_for_status().json()]

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None  # noqa: S101 - a programming error
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait until it has ended; its exit code. Raises ``TimeoutError`` if it does not."""
        process = self._process
        assert process is not None  # noqa: S101 - a programming error
        return await asyncio.to_thread(_wait, process)

    async def kill(self) -> None:
        """At once, without a chance to do anything."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def stop(self) -> int:
        """In order; the exit code, 0 if all went well and it had not died before."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def control(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Ask :class:`bench.chaos.broken.Control` something."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._control)
        try:
            writer.write(json.dumps(question).encode() + b"\n")
            answer: dict[str, Any] = json.loads(await reader.readline())
            return answer
        finally:
            writer.close()
            await writer.wait_closed()

    @property
    def last_words(self) -> str:
        return self.log.read_text(encoding="utf-8")[-3000:]


@asynccontextmanager
async def running(*servers: Process) -> AsyncIterator[None]:
    """Start servers side by side; stop those that still run in the end, in order.

    Raises ``RuntimeError`` when one of them leaves with another code than 0.
    """
    try:
        async with asyncio.TaskGroup() as group:
            for server in servers:
                group.create_task(server.start())
        yield
    except BaseException:
        await asyncio.gather(*(server.kill() for server in servers if server.running))
        raise
    alive = [server for server in servers if server.running]
    codes = await asyncio.gather(*(server.stop() for server in alive))
    if any(codes):
        raise RuntimeError(f"servers left with {codes}:\n{alive[0].last_words}")


@asynccontextmanager
async def pair(folder: Path, redis: RedisServer, **variables: str) -> AsyncIterator[list[Process]]:
    """Two servers that share a Redis."""
    shared = {
        "REDIS_URL": redis.url,
        "SURTITLE_PEPPER": "a pepper for servers to be broken" * 2,
        **variables,
    }
    servers = [Process(folder, name, **shared) for name in ("first", "second")]
    async with running(*servers):
        yield servers


def _wait(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise TimeoutError("it did not stop") from None


def stream_url(port: int) -> str:
    """Where streams go that are to pass through a port of this machine."""
    return f"ws://127.0.0.1:{port}/v1/stream"


async def until(condition: Callable[[], Awaitable[bool]], within: float, what: str) -> None:
    """Wait for something to become true. Raises ``TimeoutError``, which says what did not."""
    try:
        async with asyncio.timeout(within):
            while not await condition():  # noqa: ASYNC110 - it is another process that changes
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise TimeoutError(f"not within {within:g} s: {what}") from None
