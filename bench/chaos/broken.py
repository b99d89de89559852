"""``surtitle serve``, with a way in for whoever wants to break it.

    CHAOS_PORT=… SURTITLE_PORT=… python -m bench.chaos.broken

It is the real server with its real models. On ``CHAOS_PORT`` of 127.0.0.1 it takes one JSON object
a line and answers each with one: ``{"do": "arm", "kind": "hang", "seconds": 5}``,
``{"do": "release"}``, ``{"do": "hurry", "on": true}``, ``{"do": "jump", "seconds": 7200}``,
``{"do": "census"}``. The product itself has no such switch.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import time_machine

from app.server import leave, serve
from app.services import Services, build_services
from app.settings import Settings, load
from bench.chaos.faults import ModelFaults


def main() -> None:
    faults = ModelFaults()
    faults.install()

    async def build(settings: Settings, say: Callable[[str], None]) -> Services:
        services = await build_services(settings, say)
        control = Control(services, faults)
        server = await asyncio.start_server(
            control.converse, "127.0.0.1", int(os.environ["CHAOS_PORT"])
        )

        async def close() -> None:
            faults.release()
            server.close()

        services.closers.append(close)
        return services

    code = serve(load(), say=_say, build=build)
    leave(code)


class Control:
    """Answers what is asked on ``CHAOS_PORT``."""

    def __init__(self, services: Services, faults: ModelFaults) -> None:
        self._services = services
        self._faults = faults
        self._away: time_machine.travel | None = None

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(json.dumps(self._answer(json.loads(line))).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        match asked:
            case {"do": "arm", **fault}:
                self._faults.arm(**fault)
            case {"do": "release"}:
                self._faults.release()
            case {"do": "hurry", "on": on}:
                self._faults.hurried = bool(on)
            case {"do": "jump", "seconds": seconds}:
                self._jump(float(seconds))
            case {"do": "census"}:
                return self._census()
            case _:
                return {"error": "unknown"}
        return {"injected": self._faults.injected}

    def _jump(self, seconds: float) -> None:
        """Set the wall clock off by some seconds; the monotonic clock goes on as it did."""
        if self._away is not None:
            self._away.stop()
            self._away = None
        if seconds:
            self._away = time_machine.travel(time.time() + seconds, tick=True)
            self._away.start()

    def _census(self) -> dict[str, Any]:
        """What this process holds. Free memory is given back first: only what is held counts."""
        gc.collect()
        if sys.platform == "linux":
            ctypes.CDLL(None).malloc_trim(0)
        current = asyncio.current_task()
        tasks = Counter(_name(task) for task in asyncio.all_tasks() if task is not current)
        threads = Counter(re.sub(r"[\d._-]+$", "", each.name) for each in threading.enumerate())
        leases = self._services.limiter.leases
        return {
            "tasks": tasks,
            "threads": threads,
            "sessions": len(self._services.sessions),
            "leases": len(leases._held),  # noqa: SLF001 - there is no other way to see a leak
            "injected": self._faults.injected,
        }


def _name(task: asyncio.Task[Any]) -> str:
    return str(getattr(task.get_coro(), "__qualname__", task.get_name()))


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
