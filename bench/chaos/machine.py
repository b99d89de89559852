"""A machine that is no longer as it was: its disk is full, its clock jumps.

The server keeps its state itself here, in a file system of its own that is small.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from bench.chaos.client import Speaker
from bench.chaos.servers import Process, running
from bench.chaos.stage import Outcome, Stage
from inference.models import ModelStore

_DISK: Final = 8 * 1024 * 1024
"""Bytes for a database. The model lies elsewhere."""
_JUMP: Final = 7200.0
"""Seconds: more than anything here is kept for."""


class CannotBreak(Exception):
    """This machine does not let itself be broken so: what is missing."""


@asynccontextmanager
async def lone_server(folder: Path, **variables: str) -> AsyncIterator[Process]:
    """A server with a small disk. Raises :class:`CannotBreak`."""
    model = await asyncio.to_thread(ModelStore(folder / "models").speech, "base")
    server = Process(folder, "lone", SURTITLE_ASR_MODEL=str(model.path), **variables)
    server.data.mkdir()
    with _small_disk(server.data):
        async with running(server):
            yield server


async def disk_full(stage: Stage) -> Outcome:
    """Nothing more can be written where the keys and the usage are."""
    (server,) = stage.servers
    ballast = server.data / "ballast"

    async def strike(_: Sequence[Speaker]) -> None:
        _fill(ballast)

    try:
        return await stage.suffer("disk full", strike, stage.speakers([server.stream_url]))
    finally:
        ballast.unlink(missing_ok=True)


async def clock_forward(stage: Stage) -> Outcome:
    """The wall clock jumps two hours ahead, and the connections break after it."""
    return await _clock(stage, "clock 2 h ahead, connections lost", _JUMP)


async def clock_back(stage: Stage) -> Outcome:
    """The wall clock jumps two hours back, and the connections break after it."""
    return await _clock(stage, "clock 2 h back, connections lost", -_JUMP)


MACHINE: Final = {
    scenario.__name__: scenario for scenario in (disk_full, clock_forward, clock_back)
}


async def _clock(stage: Stage, fault: str, seconds: float) -> Outcome:
    (server,) = stage.servers

    async def strike(speakers: Sequence[Speaker]) -> None:
        await server.control({"do": "jump", "seconds": seconds})
        for speaker in speakers:
            speaker.drop()

    try:
        return await stage.suffer(fault, strike, stage.speakers([server.stream_url]))
    finally:
        await server.control({"do": "jump", "seconds": 0})


def _fill(path: Path) -> None:
    """Write until there is no room."""
    with path.open("wb", buffering=0) as file:
        for size in (64 * 1024, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "surtitle-chaos", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise CannotBreak(f"a small file system can't be mounted: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607 - the system's
