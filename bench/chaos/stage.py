"""Speakers on servers, before a fault, through it and after it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bench.chaos.client import Speaker
from bench.chaos.compare import Difference, compare, doubled, unlike
from bench.chaos.leaks import census, left_over
from bench.chaos.record import Record
from bench.chaos.servers import Process, until
from bench.chaos.speech import Speech
from tests.redis_server import RedisServer

PATIENCE: Final = 180.0
"""Seconds, beyond the length of what is spoken, after which a speaker has not been served."""

KEEP: Final = {"SURTITLE_RESUME_SECONDS": "6"}
"""Settings of servers that go through one fault at a time: sessions are kept less long than usual,
since it is waited after each that none is left."""

START: Final[dict[str, Any]] = {"source": "en", "targets": ["pt"]}

Fault = Callable[[Sequence[Speaker]], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a fault did."""

    fault: str
    streams: int
    text: Difference
    """To the undisturbed run, over all streams."""
    wrong: int
    """Utterances that are not as in the undisturbed run."""
    doubled: int
    """Finals of audio that was final already."""
    saw: Counter[str]
    """What clients were told: closes, warnings, errors, refusals."""
    anew: int
    recovery: float
    """Seconds of the longest interruption of a stream."""
    latest: float
    """Seconds from an utterance's end to its final, at most."""
    undisturbed_latest: float
    broken_promises: list[str]
    left: dict[str, float] = field(default_factory=dict)
    """What servers still held when all was over, and had not before."""
    details: list[str] = field(default_factory=list)
    """The utterances that were not the same, for whoever looks for the reason."""


@dataclass(slots=True)
class Stage:
    """Servers that share a Redis, what is said to them, and what they make of it undisturbed."""

    servers: Sequence[Process]
    speeches: Sequence[Speech]
    redis: RedisServer | None = None
    undisturbed: list[list[Record]] = field(default_factory=list)
    """For each run, the record of each speech."""

    async def rehearse(self, runs: int = 2, at_once: int | None = None) -> None:
        """Have everything said undisturbed and live, ``at_once`` speeches at a time (all), so that
        servers are as warm as they get.
        """
        for run in range(runs):
            for server in self.servers if run == 0 else self.servers[:1]:
                self.undisturbed.append(await self.warm(server, at_once))

    async def hurry(self, at_once: int | None = None) -> None:
        """Have everything said undisturbed once more to a server that decodes as a busy one does.

        It hears some words differently then, and that is no fault's doing.
        """
        server = self.servers[0]
        await server.control({"do": "hurry", "on": True})
        try:
            self.undisturbed.append(await self.warm(server, at_once))
        finally:
            await server.control({"do": "hurry", "on": False})

    async def warm(self, server: Process, at_once: int | None = None) -> list[Record]:
        """Have everything said to a server that has just been started.

        What its first speakers make it keep, like the buffers of its models, is no leak.
        """
        size = at_once or len(self.speeches)
        speakers = self.speakers([server.stream_url])
        records: list[Record] = []
        for first in range(0, len(speakers), size):
            part = slice(first, first + size)
            records += await speak(speakers[part], self.speeches[part])
        return records

    def speakers(self, addresses: Sequence[str], **options: Any) -> list[Speaker]:
        """One for each speech."""
        key = self.servers[0].key
        return [
            Speaker(addresses, key, speech.audio, **{**START, **options})
            for speech in self.speeches
        ]

    async def suffer(self, fault: str, strike: Fault, speakers: Sequence[Speaker]) -> Outcome:
        """Let all speak, strike once each has been heard, and see to the end of it."""
        port = self.redis.port if self.redis is not None else None
        before = {server: await census(server, port) for server in self._running()}
        pids = {server: server.pid for server in before}
        speaking = asyncio.create_task(speak(speakers, self.speeches))
        try:
            await heard(speakers)
            await strike(speakers)
            records = await speaking
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
        left: dict[str, float] = {}
        for server, held in before.items():
            if server.running and server.pid == pids[server]:
                found = await left_over(server, held, store_port=port)
                left |= {f"{server.name} {what}": more for what, more in found.items()}
        return self._outcome(fault, records, left)

    def _running(self) -> list[Process]:
        return [server for server in self.servers if server.running]

    def _outcome(self, fault: str, records: Sequence[Record], left: dict[str, float]) -> Outcome:
        differences, details = [], []
        for number, (speech, record) in enumerate(zip(self.speeches, records, strict=True)):
            runs = [run[number].finals for run in self.undisturbed]
            found = compare(runs, record.finals, speech.spans)
            differences += found
            details += unlike(
                f"stream {number}",
                speech.spans,
                (runs[0], record.finals),
                [one.lost + one.added > 0 for one in found],
            )
        return Outcome(
            fault=fault,
            streams=len(records),
            text=sum(differences, Difference()),
            wrong=sum(not one.alike for one in differences),
            doubled=sum(len(doubled(record.finals)) for record in records),
            saw=sum((_saw(record) for record in records), Counter()),
            anew=sum(record.anew for record in records),
            recovery=max(record.recovery for record in records),
            latest=max(record.latest for record in records),
            undisturbed_latest=max(record.latest for run in self.undisturbed for record in run),
            broken_promises=[told for record in records for told in record.broken_promises],
            left=left,
            details=details,
        )


async def speak(speakers: Sequence[Speaker], speeches: Sequence[Speech]) -> list[Record]:
    """Let all speak at once, and wait until all is final."""
    longest = max(speech.seconds for speech in speeches)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(speaker.run(longest + PATIENCE)) for speaker in speakers]
    return [task.result() for task in tasks]


async def heard(speakers: Sequence[Speaker], finals: int = 1) -> None:
    """Wait until each speaker has so many finals."""

    async def all_heard() -> bool:
        return all(len(speaker.record.finals) >= finals for speaker in speakers)

    await until(all_heard, PATIENCE, f"{finals} finals for each speaker")


def _saw(record: Record) -> Counter[str]:
    return Counter(
        {
            **Counter(interruption.why for interruption in record.interruptions),
            **{f"HTTP {what}": count for what, count in record.refused.items()},
            **{f"warning {what}": count for what, count in record.warnings.items()},
            **{f"error {what}": count for what, count in record.errors.items()},
        }
    )
