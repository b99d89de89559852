"""A server that plays a script, so that the page can be tested against faults on demand.

It speaks enough of the native protocol for the page. The page with a real recogniser is tested in
``tests/e2e/test_browser.py``; here connections break, keys are refused, and texts are hostile.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import uvicorn
from litestar import Litestar, MediaType, Request, Response, WebSocket, get, post
from litestar.exceptions import NotAuthorizedException, WebSocketDisconnect
from litestar.handlers import websocket
from litestar.static_files import create_static_files_router

from streaming import wire

WEB = Path(__file__).parents[2] / "web_demo"
KEY = "the-key"
CSP = "default-src 'self'; frame-ancestors 'none'"

LANGUAGES = [
    {"code": "en", "name": "English", "targets": ["en", "pt", "es"]},
    {"code": "pt", "name": "Portuguese", "targets": ["pt", "en"]},
    {"code": "es", "name": "Spanish", "targets": ["en", "pt"]},
]


@dataclass
class Script:
    """What the server does. ``events`` are (seconds of audio heard, event) in order."""

    events: list[tuple[float, wire.Event]] = field(default_factory=list)
    ending: list[wire.Event] = field(default_factory=list)
    """Sent after ``stop``, before ``done``."""
    break_after: list[float] = field(default_factory=list)
    """Seconds of audio after which the first, second, … connection breaks."""
    refuse: tuple[int, dict[str, str]] | None = None
    """Status and headers for every ticket."""
    refuse_start: wire.ErrorEvent | None = None
    """Answers ``start`` in place of ``ready``."""
    starts: list[wire.Start] = field(default_factory=list)
    configures: list[wire.Configure] = field(default_factory=list)
    heard: list[float] = field(default_factory=list)
    """Seconds of audio of each connection."""
    tickets: set[str] = field(default_factory=set)


def application(script: Script) -> Litestar:
    """The page, its assets, and the three endpoints it calls."""

    @get("/", media_type=MediaType.HTML, sync_to_thread=False)
    def page() -> str:
        return (WEB / "index.html").read_text(encoding="utf-8")

    @get("/languages")
    async def languages() -> list[dict[str, Any]]:
        return LANGUAGES

    @post("/v1/tickets")
    async def tickets(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            problem = {"code": "invalid_key", "status": 401, "detail": "Unknown API key."}
            return Response(problem, status_code=401, media_type="application/problem+json")
        if script.refuse is not None:
            status, headers = script.refuse
            problem = {"code": "overloaded", "status": status, "detail": "All streams are taken."}
            return Response(problem, status_code=status, headers=headers)
        ticket = f"t{len(script.tickets)}"
        script.tickets.add(ticket)
        return Response({"ticket": ticket, "expires_in": 60}, status_code=201)

    @websocket("/v1/stream")
    async def stream(socket: WebSocket[Any, Any, Any]) -> None:
        if socket.query_params.get("ticket") not in script.tickets:
            raise NotAuthorizedException
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            await _Conversation(socket, script).run()

    return Litestar(
        [page, languages, tickets, stream, create_static_files_router("/demo", [WEB])],
        response_headers={"Content-Security-Policy": CSP},
        openapi_config=None,
    )


class _Conversation:
    def __init__(self, socket: WebSocket[Any, Any, Any], script: Script) -> None:
        self.socket = socket
        self.script = script
        self.seq = 0
        self.number = len(script.heard)
        self.pending = list(script.events)
        self.rate = 16_000
        script.heard.append(0.0)

    async def send(self, event: wire.Event) -> None:
        self.seq += 1
        event = msgspec.structs.replace(event, seq=self.seq)
        await self.socket.send_text(wire.encode(event).decode())

    async def run(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] != "websocket.receive":
                return
            if message.get("bytes"):
                goes_on = await self.hear(message["bytes"] or b"")
            else:
                goes_on = await self.obey(wire.decode(message["text"] or ""))
            if not goes_on:
                return

    async def obey(self, command: wire.ClientMessage) -> bool:
        if isinstance(command, wire.Start):
            self.script.starts.append(command)
            self.rate = command.sample_rate
            if self.script.refuse_start is not None:
                await self.send(self.script.refuse_start)
                return True
            limits = wire.Limits(2**20, 30.0, 60.0)
            await self.send(
                wire.ReadyEvent(session="s", resume_token=None, limits=limits, model="script")
            )
        elif isinstance(command, wire.Configure):
            self.script.configures.append(command)
        elif isinstance(command, wire.Stop):
            for event in self.script.ending:
                await self.send(event)
            heard = self.script.heard[self.number]
            usage = wire.Usage(audio_seconds=heard, characters=0)
            await self.send(wire.DoneEvent(audio_seconds=heard, segments=1, usage=usage))
            await self.socket.close(1000)
            return False
        return True

    async def hear(self, pcm: bytes) -> bool:
        """Play what is due. Whether the connection still holds."""
        self.script.heard[self.number] += len(pcm) / 2 / self.rate
        heard = self.script.heard[self.number]
        while self.pending and self.pending[0][0] <= heard:
            await self.send(self.pending.pop(0)[1])
        breaks = self.script.break_after
        if self.number < len(breaks) and heard >= breaks[self.number]:
            await self.socket.close(1012)
            return False
        return True


@contextlib.contextmanager
def serving(script: Script) -> Iterator[str]:
    """Run it in a thread. Yields its address, which ends in a slash."""
    with socket.create_server(("127.0.0.1", 0)) as listener, _running(script, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


@contextlib.contextmanager
def _running(script: Script, listener: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(
        application(script), log_level="warning", ws="websockets-sansio", lifespan="off"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True
    )
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)
