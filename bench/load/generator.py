"""The clients: a process of its own that plays scripts to a server in real time.

Frames are made beforehand, so that a frame costs one ``send``. What comes is decoded when it comes;
nothing is judged here.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import httpx
import websockets
from websockets.frames import Frame, Opcode

from bench.load.dialects import DIALECTS, Dialect, Encoding
from bench.load.schedule import Script
from bench.load.transcript import Transcript
from bench.replay import FRAME
from streaming.types import SAMPLE_RATE

SECONDS: Final = FRAME / SAMPLE_RATE
"""Length of a frame."""
_PATIENCE: Final = 120.0
"""How long, in seconds, a client waits for what is missing when all has been said."""
_GREETING: Final = 60.0
"""How long it waits to be let in."""
_TICK: Final = 0.02
_TURNS: Final = 25
"""Into how many parts idle sessions are spread."""
_PROBE_EVERY: Final = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Idle:
    """Sessions that are connected and say nothing."""

    count: int
    ramp: float
    """Seconds in which they connect."""
    settle: float
    """Seconds between the ramp and the first speaker."""
    every: float
    """Seconds between two messages of one of them."""
    message: bytes | str
    """What each sends: a frame of quiet, or a keepalive."""
    tenants: int = 1
    """How many of the run's keys they share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a run does."""

    server: str
    url: str
    health: str | None
    """Asked now and then, to see how soon the server answers; None: it can't be."""
    headers: Sequence[Mapping[str, str]]
    """Of each tenant."""
    frames: Mapping[Encoding, Sequence[Sequence[bytes]]]
    """The frames of each utterance of the pool, with the pause behind it."""
    quiet: Mapping[Encoding, Sequence[bytes]]
    """Frames nobody speaks in, to be sent again and again."""
    scripts: Sequence[Script]
    idle: Idle | None = None


@dataclass(slots=True, kw_only=True)
class StreamLog:
    """What came of one script. ``began`` is on the wall clock, all else in the stream's seconds."""

    script: Script
    began: float | None = None
    """When its audio began; None: it never did."""
    ended: float = 0.0
    transcript: Transcript = field(default_factory=Transcript)
    refused: str | None = None
    retry_after: float | None = None
    broken: str | None = None
    """Why the connection ended before everything had come."""
    late: float = 0.0
    """How many seconds too late its latest frame was sent: the server had it wait."""


@dataclass(slots=True, kw_only=True)
class RunLog:
    """What came of a plan. Times are on the wall clock."""

    began: float
    speaking: float
    """When the first speaker was due."""
    ended: float
    streams: list[StreamLog]
    idle_connected: int = 0
    idle_lost: int = 0
    own_delays: list[float]
    """How late this process itself was, in seconds, again and again."""
    answers: list[float]
    """How long the server took to answer a request for its health, again and again."""


def generate(plan: Plan) -> RunLog:
    """Carry out a plan. Blocking: for a process of its own."""
    return asyncio.run(_generate(plan))


async def _generate(plan: Plan) -> RunLog:
    began = time.time()
    own: list[float] = []
    answers: list[float] = []
    watching = [asyncio.create_task(_watch(own))]
    if plan.health is not None:
        watching.append(asyncio.create_task(_probe(plan.health, answers)))
    crowd = _Crowd(plan)
    try:
        await crowd.gather()
        speaking = time.time()
        logs = await asyncio.gather(*(_stream(plan, one, speaking) for one in plan.scripts))
        ended = time.time()
        connected, lost = crowd.connected, crowd.lost
    finally:
        await crowd.leave()
        for task in watching:
            task.cancel()
        await asyncio.gather(*watching, return_exceptions=True)
    return RunLog(
        began=began,
        speaking=speaking,
        ended=ended,
        streams=list(logs),
        idle_connected=connected,
        idle_lost=lost,
        own_delays=own,
        answers=answers,
    )


async def _watch(delays: list[float]) -> None:
    while True:
        due = time.perf_counter() + _TICK
        await asyncio.sleep(_TICK)
        delays.append(max(0.0, time.perf_counter() - due))


async def _probe(url: str, answers: list[float]) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        while True:
            before = time.perf_counter()
            with contextlib.suppress(httpx.TransportError):
                await client.get(url)
                answers.append(time.perf_counter() - before)
            await asyncio.sleep(_PROBE_EVERY)


def _connection(plan: Plan, tenant: int) -> websockets.connect:
    return websockets.connect(
        plan.url,
        additional_headers=plan.headers[tenant],
        max_size=None,
        compression=None,
        ping_interval=None,
        open_timeout=_GREETING,
    )


# ---------------------------------------------------------------- speakers


async def _stream(plan: Plan, script: Script, zero: float) -> StreamLog:
    """One client from its connecting to its end."""
    log = StreamLog(script=script)
    dialect = DIALECTS[plan.server]()
    log.transcript = dialect.transcript
    await asyncio.sleep(max(0.0, zero + script.offset - time.time()))
    try:
        async with _connection(plan, script.tenant) as socket:
            await _talk(socket, dialect, plan, log)
    except websockets.InvalidStatus as error:
        log.refused, log.retry_after = _refusal(error)
    except (websockets.WebSocketException, OSError, TimeoutError) as error:
        log.broken = f"{type(error).__name__}: {error}".rstrip(": ")[:200]
    log.refused = log.refused or dialect.refused
    if log.began is not None and not dialect.over and log.broken is None:
        log.broken = "closed before everything had come"
    return log


async def _greet(socket: websockets.ClientConnection, dialect: Dialect) -> None:
    for message in dialect.opening():
        await socket.send(message)
    while not dialect.ready and not dialect.refused:
        dialect.receive(0.0, await asyncio.wait_for(socket.recv(), _GREETING))


async def _talk(
    socket: websockets.ClientConnection, dialect: Dialect, plan: Plan, log: StreamLog
) -> None:
    await _greet(socket, dialect)
    if dialect.refused:
        return
    log.began = time.time()
    began = time.perf_counter()

    async def listen() -> None:
        async for message in socket:
            dialect.receive(time.perf_counter() - began, message)
            if dialect.over:
                return

    listener = asyncio.create_task(listen())
    speaker = asyncio.create_task(_speak(socket, dialect, plan, log, began))
    try:
        await asyncio.wait({listener, speaker}, return_when=asyncio.FIRST_COMPLETED)
        # A server that has gone leaves nothing to speak to; one that listens still owes answers.
        if not listener.done():
            await speaker
            await asyncio.wait({listener}, timeout=_PATIENCE)
        if not listener.done():
            log.broken = f"not finished {_PATIENCE:.0f} s after the last word"
            return
    finally:
        log.ended = time.perf_counter() - began
        for task in (listener, speaker):
            task.cancel()
        await asyncio.gather(listener, speaker, return_exceptions=True)
    await listener
    if dialect.closes:
        dialect.over = not speaker.cancelled() and speaker.exception() is None


async def _speak(
    socket: websockets.ClientConnection, dialect: Dialect, plan: Plan, log: StreamLog, began: float
) -> None:
    # A frame is there to be sent when its last sample was spoken.
    due = began
    for frame in _said(plan.frames[dialect.encoding], log.script):
        due += SECONDS
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await socket.send(frame)
        log.late = max(log.late, time.perf_counter() - due)
    still, longest = dialect.tail
    quiet = plan.quiet[dialect.encoding]
    end = due
    for number in range(round(longest / SECONDS)):
        heard = max(end, began + dialect.transcript.changed)
        if due - heard >= still:
            break
        due += SECONDS
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await socket.send(quiet[number % len(quiet)])
    for message in dialect.closing():
        await socket.send(message)


def _said(pool: Sequence[Sequence[bytes]], script: Script) -> Iterator[bytes]:
    for line in script.lines:
        yield from pool[line.utterance]


def _refusal(error: websockets.InvalidStatus) -> tuple[str, float | None]:
    """The status with the problem's code, and when to come again."""
    response = error.response
    code = ""
    with contextlib.suppress(ValueError, AttributeError):
        code = json.loads(response.body or b"{}").get("code", "")
    wait = response.headers.get("Retry-After", "")
    return f"{response.status_code} {code}".strip(), float(wait) if wait.isdigit() else None


# ---------------------------------------------------------------- idle sessions


class _Crowd:
    """The idle sessions of a plan.

    There may be thousands, so one task speaks for all of them, with a WebSocket frame made once and
    written straight to each transport.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._sockets: list[websockets.ClientConnection] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.connected = 0
        self.lost = 0

    async def gather(self) -> None:
        """Connect them all, and let the server settle."""
        idle = self._plan.idle
        if idle is None:
            return
        self._tasks.append(asyncio.create_task(self._murmur(idle)))
        arrivals = [asyncio.Event() for _ in range(idle.count)]
        for number, arrived in enumerate(arrivals):
            self._tasks.append(asyncio.create_task(self._sit(number % idle.tenants, arrived)))
            await asyncio.sleep(idle.ramp / idle.count)
        for arrived in arrivals:
            await arrived.wait()
        await asyncio.sleep(idle.settle)

    async def leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _sit(self, tenant: int, arrived: asyncio.Event) -> None:
        """One session: ``arrived`` is set when it is connected, or can't be."""
        dialect = DIALECTS[self._plan.server]()
        try:
            async with _connection(self._plan, tenant) as socket:
                await _greet(socket, dialect)
                if dialect.refused is None:
                    self.connected += 1
                    self._sockets.append(socket)
                    arrived.set()
                    async for _ in socket:
                        pass
        except (websockets.WebSocketException, OSError, TimeoutError):
            pass
        finally:
            arrived.set()
        self.lost += 1

    async def _murmur(self, idle: Idle) -> None:
        """Send for all, spread over the time between two messages of one."""
        opcode = Opcode.TEXT if isinstance(idle.message, str) else Opcode.BINARY
        data = idle.message.encode() if isinstance(idle.message, str) else idle.message
        frame = Frame(opcode, data).serialize(mask=True)
        due = time.perf_counter()
        for turn in itertools.count():
            due += idle.every / _TURNS
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            for socket in self._sockets[turn % _TURNS :: _TURNS]:
                transport = socket.transport
                # Where the server doesn't read, nothing is piled up.
                if not transport.is_closing() and not transport.get_write_buffer_size():
                    transport.write(frame)
