"""The clients: a process of its own that plays scripts to a server in real time.

Frames are made beforehand, so that a frame costs one ``send``. What comes is decoded when it comes;
nothing is judged here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Final

import httpx
import websockets

from bench.load.crowd import Crowd
from bench.load.dialects import DIALECTS, Dialect
from bench.load.handshake import connection, greet, refusal
from bench.load.plan import SECONDS, Plan, RunLog, StreamLog
from bench.load.schedule import Script

_PATIENCE: Final = 120.0
"""How long, in seconds, a client waits for what is missing when all has been said."""
_TICK: Final = 0.02
_PROBE_EVERY: Final = 0.25


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
    crowd = Crowd(plan)
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


# ---------------------------------------------------------------- speakers


async def _stream(plan: Plan, script: Script, zero: float) -> StreamLog:
    """One client from its connecting to its end."""
    log = StreamLog(script=script)
    dialect = DIALECTS[plan.server]()
    log.transcript = dialect.transcript
    await asyncio.sleep(max(0.0, zero + script.offset - time.time()))
    try:
        async with connection(plan, script.tenant) as socket:
            await _talk(socket, dialect, plan, log)
    except websockets.InvalidStatus as error:
        log.refused, log.retry_after = refusal(error)
    except (websockets.WebSocketException, OSError, TimeoutError) as error:
        log.broken = f"{type(error).__name__}: {error}".rstrip(": ")[:200]
    log.refused = log.refused or dialect.refused
    if log.began is not None and not dialect.over and log.broken is None:
        log.broken = "closed before everything had come"
    return log


async def _talk(
    socket: websockets.ClientConnection, dialect: Dialect, plan: Plan, log: StreamLog
) -> None:
    await greet(socket, dialect)
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
