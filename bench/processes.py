"""What processes take of the machine, and what others take meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import psutil

from bench.metrics import quantile, rounded

_MIB = 1024 * 1024


class Others:
    """What other programs than some processes and this one take of the processor, from now on."""

    def __init__(self, *ours: int) -> None:
        self._ours = (psutil.Process(), *map(psutil.Process, ours))
        self._began = time.monotonic(), self._spent()

    def cores(self) -> float:
        """How many cores on average."""
        at, spent = self._began
        return max(0.0, (self._spent() - spent) / (time.monotonic() - at))

    def _spent(self) -> float:
        return _busy() - sum(map(_processor, self._ours))


@dataclass(frozen=True, slots=True)
class Sample:
    """Cumulative processor seconds, and memory in MiB, at a time on the wall clock."""

    time: float
    server: float
    clients: float
    everything: float
    memory: float


class Sampler:
    """Samples a server with its children, and the processes that load it, in a thread.

    ``server`` is None where the server is on another machine: only the clients are watched then.
    """

    def __init__(self, server: int | None, clients: int, *, every: float = 0.5) -> None:
        self._server = psutil.Process(server) if server is not None else None
        self._clients = (psutil.Process(clients), psutil.Process())
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self.samples: list[Sample] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def between(self, began: float, ended: float) -> list[Sample]:
        return [sample for sample in self.samples if began <= sample.time <= ended]

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            server = memory = 0.0
            if self._server is not None:
                family = [self._server, *self._server.children(recursive=True)]
                server = sum(map(_processor, family))
                memory = sum(map(_memory, family))
            clients = sum(map(_processor, self._clients))
            self.samples.append(Sample(time.time(), server, clients, _busy(), memory))


def load(samples: Sequence[Sample]) -> dict[str, float | None]:
    """Cores that the server, the clients and others took on average, and the server's memory."""
    if len(samples) < 2:
        return {}
    first, last = samples[0], samples[-1]
    span = last.time - first.time
    server, clients = last.server - first.server, last.clients - first.clients
    everything = last.everything - first.everything
    return {
        "server_cores": rounded(server / span),
        "client_cores": rounded(clients / span),
        "other_cores": rounded(max(0.0, everything - server - clients) / span),
        "memory_mib": rounded(quantile([sample.memory for sample in samples], 0.5), 1),
        "memory_max_mib": rounded(max(sample.memory for sample in samples), 1),
    }


def slope(points: Sequence[tuple[float, float]]) -> float | None:
    """By how much the second grows for each of the first: a least-squares line."""
    count = len(points)
    if count < 2:
        return None
    x = sum(a for a, _ in points) / count
    y = sum(b for _, b in points) / count
    spread = sum((a - x) ** 2 for a, _ in points)
    return sum((a - x) * (b - y) for a, b in points) / spread if spread else None


def niceness(process: int) -> int | None:
    """How far a process gives way to others; 0 is what an operator's server has."""
    try:
        return int(psutil.Process(process).nice())
    except psutil.NoSuchProcess:
        return None


def pairs(given: Sequence[str]) -> dict[str, str]:
    """``NAME=VALUE`` of a command line, as variables for a server's environment."""
    parts = (one.partition("=") for one in given)
    return {name: value for name, _, value in parts}


def _processor(process: psutil.Process) -> float:
    """Seconds of processor time; 0 of one that has gone."""
    try:
        return float(sum(process.cpu_times()[:2]))
    except psutil.NoSuchProcess:
        return 0.0


def _memory(process: psutil.Process) -> float:
    try:
        return float(process.memory_info().rss) / _MIB
    except psutil.NoSuchProcess:
        return 0.0


def _busy() -> float:
    """Seconds of processor time that all programs have taken."""
    now = psutil.cpu_times()
    # What guests take is in what users take already; not every system tells all of these.
    not_busy = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(now) - sum(getattr(now, name, 0.0) for name in not_busy))
