"""What the guards cost: with them and without, turn by turn, on the same server process.

    python -m bench.guards [--out docs/benchmarks] [--requests N] [--sessions N]

Two copies of the application run on fakes of the models: one whole, and one whose guards let
everyone in and whose limits, leases and metering do nothing. A request or a session goes to one
and then to the other, so that what else the machine does falls on both. Once with the embedded
state, and once with a Redis server where there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from websockets.asyncio.client import connect

from app.factory import create_app
from app.logging import configure
from app.server import Server, bind, server_config
from app.services import Services
from bench.machine import machine
from guards.leases import Lease
from guards.metering import MemoryJournal, Metering
from guards.principal import Principal, Tier
from guards.usage import UNBOUNDED, Amount, Charge, DayUsage, Quota, Receipt
from tests.app.support import Fakes, services
from tests.redis_server import RedisServer

WARM_UP: Final = 50
TEXT: Final = {"text": "Good morning.", "source": "en", "target": "pt"}
LIMITS: Final = {"requests_per_minute", "requests_per_day", "text_per_minute", "stream_per_minute"}
BOUNDS: Final = {"request": 1.5, "session": 5.0}
"""Milliseconds (median) that the guards may cost."""


@dataclass(frozen=True, slots=True)
class Result:
    """Milliseconds. ``overhead`` is over the differences of each pair, not of the medians."""

    state: str
    what: str
    pairs: int
    bare_p50: float
    guarded_p50: float
    overhead_p50: float
    overhead_p95: float
    bound: float


class Nothing:
    """Usage and leases that are not kept."""

    async def book(
        self, charge: Charge, quota: Quota = UNBOUNDED, *, whole: bool = True
    ) -> Receipt:
        del quota, whole
        return Receipt(charge.amount, Amount())

    async def total(self, key_id: str, day: date) -> Amount:
        del key_id, day
        return Amount()

    async def report(
        self, first: date, last: date, key_ids: Sequence[str] | None = None
    ) -> list[DayUsage]:
        del first, last, key_ids
        return []

    async def acquire(self, lease: Lease, limit: int, ttl: float) -> bool:
        del lease, limit, ttl
        return True

    async def renew(self, leases: Iterable[Lease], ttl: float) -> None: ...

    async def release(self, lease: Lease) -> None: ...

    async def count(self, subject: str) -> int:
        del subject
        return 0


def bare(built: Services, principal: Principal) -> Any:
    """The application without its guards. ``built`` is of no other use afterwards."""

    async def anyone(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        connection.scope["user"] = principal

    built.metering = Metering(Nothing(), MemoryJournal())
    built.limiter.leases.leases = Nothing()
    app = create_app(built.settings, built)
    for route in app.routes:
        for handler in getattr(route, "route_handlers", [getattr(route, "route_handler", None)]):
            if handler is not None and handler.resolve_guards():
                handler._resolved_guards = [anyone]  # noqa: SLF001 - the one place that knows
    return app


@contextlib.asynccontextmanager
async def serving(built: Services, app: Any) -> AsyncIterator[int]:
    """The application on uvicorn; its port."""
    config = server_config(built.settings, app)
    server = Server(config)
    sock = bind("127.0.0.1", 0)
    running = asyncio.create_task(server.serve(sockets=[sock]))
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event
        await asyncio.sleep(0.01)
    try:
        yield sock.getsockname()[1]
    finally:
        server.stop()
        await running


Ask = Callable[[], Awaitable[float]]


@contextlib.asynccontextmanager
async def request(port: int, key: str) -> AsyncIterator[Ask]:
    """Sends one cached translation over a kept connection; the seconds it took."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps(TEXT).encode()
    head = (
        "POST /translate/text HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()

    async def send() -> float:
        before = time.perf_counter()
        writer.write(head + body)
        status = await reader.readline()
        if b" 200 " not in status:
            raise RuntimeError(status.decode())
        length = 0
        while (line := await reader.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        await reader.readexactly(length)
        return time.perf_counter() - before

    try:
        yield send
    finally:
        writer.close()
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def session(port: int, key: str) -> AsyncIterator[Ask]:
    """Opens a stream, from the first byte to ``ready``; the seconds it took."""
    headers = {"Authorization": f"Bearer {key}"}

    async def start() -> float:
        before = time.perf_counter()
        async with connect(
            f"ws://127.0.0.1:{port}/v1/stream", additional_headers=headers
        ) as socket:
            await socket.send('{"type": "start"}')
            await socket.recv()
            seconds = time.perf_counter() - before
            await socket.send('{"type": "stop"}')
            async for _ in socket:
                pass
        return seconds

    yield start


async def compare(
    state: str,
    what: str,
    pairs: int,
    guarded: Ask,
    plain: Ask,
) -> Result:
    """Both, turn by turn, and who is first changing with each pair."""
    with_guards, without = [], []
    for number in range(pairs + WARM_UP):
        if number % 2:
            took, bare_took = await guarded(), await plain()
        else:
            bare_took, took = await plain(), await guarded()
        if number >= WARM_UP:
            with_guards.append(took * 1000)
            without.append(bare_took * 1000)
    overhead = [one - other for one, other in zip(with_guards, without, strict=True)]
    return Result(
        state=state,
        what=what,
        pairs=pairs,
        bare_p50=round(median(without), 3),
        guarded_p50=round(median(with_guards), 3),
        overhead_p50=round(median(overhead), 3),
        overhead_p95=round(quantiles(overhead, n=20)[-1], 3),
        bound=BOUNDS[what],
    )


async def measure(
    state: str, directory: Path, requests: int, sessions: int, **settings: Any
) -> list[Result]:
    """One home of state."""
    async with (
        services(directory / "whole", Fakes(tier=Tier.ENTERPRISE), **settings) as whole,
        services(directory / "bare", Fakes(tier=Tier.ENTERPRISE)) as plain,
    ):
        keyring = whole.services.keyring
        key, record = await keyring.issue(
            user_id="bench", tier=Tier.ENTERPRISE, limits=dict.fromkeys(LIMITS, 10**9)
        )
        whole.services.start()
        app = create_app(whole.services.settings, whole.services)
        async with (
            serving(whole.services, app) as guarded_port,
            serving(plain.services, bare(plain.services, record.principal)) as bare_port,
        ):
            results = []
            for what, pairs, asking in (
                ("request", requests, request),
                ("session", sessions, session),
            ):
                async with (
                    asking(guarded_port, key) as guarded,
                    asking(bare_port, key) as plain_ask,
                ):
                    results.append(await compare(state, what, pairs, guarded, plain_ask))
            return results


async def run(requests: int, sessions: int) -> list[Result]:
    """All homes of state that there are."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        results = await measure("embedded", directory / "embedded", requests, sessions)
        binary = shutil.which("redis-server")
        if binary is None:
            print("no redis-server here: embedded state only")
            return results
        (directory / "redis").mkdir()
        server = RedisServer(binary, directory / "redis", fsync="everysec")
        server.start()
        try:
            results += await measure(
                "Redis", directory / "shared", requests, sessions, redis_url=server.url
            )
        finally:
            server.stop()
        return results


def markdown(results: Sequence[Result], found: dict[str, Any]) -> str:
    """The results as a page."""
    about = (
        "`python -m bench.guards`: milliseconds of a cached `POST /translate/text`, and of a "
        "stream from its first byte to `ready`, with all guards (key, limits, leases, metering) "
        "and without, turn by turn on the same process. The overhead is that of each pair. "
        f"{found['cpu']}, {found['cores']} cores, which client and server share; "
        f"Python {found['python']}; load average {found['load']}; p95 shows that, too."
    )
    lines = [
        "# What the guards cost",
        "",
        about,
        "",
        "| state | what | pairs | without p50 | with p50 | overhead p50 | p95 | may be (p50) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one.state} | {one.what} | {one.pairs} | {one.bare_p50:.2f} | {one.guarded_p50:.2f} "
        f"| **{one.overhead_p50:.2f}** | {one.overhead_p95:.2f} | {one.bound} |"
        for one in results
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--sessions", type=int, default=300)
    options = parser.parse_args()
    configure(level="error", form="json", secrets=[])
    results = asyncio.run(run(options.requests, options.sessions))
    found = machine() | {"load": round(os.getloadavg()[0], 1)}
    document = {"machine": found, "results": [asdict(one) for one in results]}
    (options.out / "guards.json").write_text(json.dumps(document, indent=1) + "\n")
    page = markdown(results, found)
    (options.out / "guards.md").write_text(page)
    print(page)


if __name__ == "__main__":
    main()
