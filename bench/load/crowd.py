"""Sessions that are connected and say nothing."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import Final

import websockets
from websockets.frames import Frame, Opcode

from bench.load.dialects import DIALECTS
from bench.load.handshake import connection, greet
from bench.load.plan import Idle, Plan

_TURNS: Final = 25
"""Into how many parts idle sessions are spread."""


class Crowd:
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
            async with connection(self._plan, tenant) as socket:
                await greet(socket, dialect)
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
