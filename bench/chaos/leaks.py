"""What a server, and the store it shares, still hold once a fault is over."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import psutil
from redis import Redis

from bench.chaos.servers import Process

MEMORY: Final = 48.0
"""MiB that may stay of a server that was warm: models keep the buffers of the largest batch they
have seen, and the allocator an arena for each thread of a pool. A thousand passers-by leave 30."""

_STREAMS: Final = ("leases", "resume", "events")
"""Kinds of keys that a stream has in the store."""

_POOLS: Final = frozenset({"asyncio", "bergamot"})
"""Threads of pools that grow up to their bounds as they are used, and stay."""
_MIB: Final = 1024 * 1024
_EVERY: Final = 0.5


@dataclass(frozen=True, slots=True)
class Census:
    """What a process holds."""

    counts: Mapping[str, int]
    """Of sessions, leases and files, and of each kind of thread and task."""
    memory: float
    """MiB resident."""

    def beyond(self, before: Census) -> dict[str, float]:
        """What there is more of than there was, and how much."""
        grown: dict[str, float] = {
            name: count - before.counts.get(name, 0)
            for name, count in self.counts.items()
            if count > before.counts.get(name, 0)
        }
        if self.memory - before.memory > MEMORY:
            grown["MiB"] = round(self.memory - before.memory, 1)
        return grown


async def census(server: Process, store_port: int | None = None) -> Census:
    """Count, from inside and outside. Connections to the store on ``store_port`` are left out:
    they are a pool of bounded size.
    """
    held = await server.control({"do": "census"})
    sessions = await server.sessions()
    process = psutil.Process(server.pid)
    to_store = sum(
        one.raddr.port == store_port for one in process.net_connections("tcp") if one.raddr
    )
    counts = {
        "sessions": max(len(sessions), held["sessions"]),
        "leases": held["leases"],
        "native threads": process.num_threads() - sum(held["threads"].values()),
        "files": process.num_fds() - to_store,
        **{
            f"thread {name}": count for name, count in held["threads"].items() if name not in _POOLS
        },
        **{f"task {name}": count for name, count in held["tasks"].items()},
    }
    return Census(counts, process.memory_info().rss / _MIB)


def stored(port: int) -> dict[str, int]:
    """How many keys of what runs, and of what may be resumed, a Redis on this machine has.

    Blocking.
    """
    with Redis(port=port) as redis:
        found = Counter(
            key.split(b":")[1].decode() for key in redis.scan_iter("surtitle:*", count=1000)
        )
    return {f"keys of {name}": found[name] for name in _STREAMS if found[name]}


async def left_over(
    server: Process,
    before: Census,
    *,
    within: float = 60.0,
    store_port: int | None = None,
) -> dict[str, float]:
    """What a server holds more than before, and what the store still has of streams.

    Looks again until nothing is left, at most ``within`` seconds.
    """
    deadline = time.monotonic() + within
    while True:
        grown = (await census(server, store_port)).beyond(before)
        if store_port is not None:
            grown |= await asyncio.to_thread(stored, store_port)
        if not grown or time.monotonic() > deadline:
            return grown
        await asyncio.sleep(_EVERY)
