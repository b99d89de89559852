"""Jobs for models that give a text back in capitals."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

from inference.dispatcher import Dispatcher
from streaming.types import Priority


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    text: str
    session: str = "s"
    segment: int = field(default_factory=itertools.count().__next__)
    revision: int = 0
    priority: Priority = Priority.FINAL
    tenant: str = ""
    weight: float = 1.0


async def submitted(dispatcher: Dispatcher[Job, str], *jobs: Job) -> list[asyncio.Task[str]]:
    """Tasks that have put their jobs into the queue."""
    tasks = [asyncio.create_task(dispatcher.submit(job)) for job in jobs]
    await asyncio.sleep(0)
    return tasks
