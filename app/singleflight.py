"""Work that several want at the same time is done once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


@dataclass(slots=True, eq=False)
class _Flight(Generic[R]):
    task: asyncio.Task[R]
    waiting: int = 0


class SingleFlight(Generic[K, R]):
    """Shares the work on a key between those who want it while it is being done.

    Who is cancelled leaves the others alone; the work ends with the last of them. An error is
    everybody's who waited for it, and the next to come tries again.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[R]] = {}
        self.shared = 0
        """How many found the work begun."""

    def __len__(self) -> int:
        """How many works are being done."""
        return len(self._flights)

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """The result of ``work``, or of that on this key which is being done already."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.create_task(work()))
            flight.task.add_done_callback(lambda _: self._land(key, flight))
        else:
            self.shared += 1
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._land(key, flight)  # nobody joins what is being cancelled
                flight.task.cancel()

    def _land(self, key: K, flight: _Flight[R]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # is raised for those who wait; maybe nobody does any more
