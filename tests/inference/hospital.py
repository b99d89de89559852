"""Models that hang and die, and a clock that is the test's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence

from inference.dispatcher import Dispatcher
from inference.supervision import Supervision
from streaming.errors import SurtitleError
from tests.clock import Clock
from tests.inference.shouts import Job

POLICY = Supervision(longest=60, shortest=10, factor=10, loading=120, most_abandoned=2)

Staffed = Callable[..., Dispatcher[Job, str]]
"""What the fixture ``staffed`` is."""


class Hospital:
    """What models share: what hangs until it is let go, and what was done by which."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.gates: dict[int, threading.Event] = {}
        """What lets models of these numbers go, instead of ``release``."""
        self.entered = threading.Semaphore(0)
        self.done: list[tuple[int, list[str]]] = []
        self.hung = False


class Model:
    """Upper-cases. The first batch with ``hang`` hangs, and each with ``poison``; ``die`` is the
    end of all models that are not made anew.
    """

    made = 0

    def __init__(self, hospital: Hospital, *, mortal: bool = True) -> None:
        self.hospital, self.mortal = hospital, mortal
        self.number, Model.made = Model.made, Model.made + 1

    def run(self, jobs: Sequence[Job]) -> Sequence[str | SurtitleError]:
        texts = [job.text for job in jobs]
        self.hospital.done.append((self.number, texts))
        marks = {mark for text in texts for mark in text.split()}
        hangs = "hang" in marks and not self.hospital.hung
        if hangs or "poison" in marks:
            self.hospital.hung = True
            self.hospital.entered.release()
            gate = self.hospital.gates.get(self.number, self.hospital.release)
            assert gate.wait(60)
        if self.mortal and "die" in marks:
            raise SystemExit(1)
        return [text.upper() for text in texts]


def pass_time(dispatcher: Dispatcher[Job, str], clock: Clock, seconds: float) -> None:
    """Let watched time pass. The watchdog's own thread may look as well: it sees the same."""
    for _ in range(round(2 * seconds)):
        clock.now += 0.5
        dispatcher._crew.look()


async def stuck(hospital: Hospital) -> None:
    """Wait until a model hangs."""
    assert await asyncio.to_thread(hospital.entered.acquire, timeout=30)


def hanging(dispatcher: Dispatcher[Job, str]) -> int:
    return dispatcher.stats.staff.abandoned
