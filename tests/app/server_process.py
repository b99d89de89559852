"""A server of its own process, on fakes: to be shared state with, signalled and killed."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[2]

SAY = "print(line, flush=True)"
SCRIPT = f"""
import gc, sys
sys.path.insert(0, {str(ROOT)!r})
from contextlib import AsyncExitStack
from app.server import leave, serve
from app.settings import load
from tests.app.support import services

kept = AsyncExitStack()  # closed by nobody but the server

async def build(settings, say):
    say("speech model fake")
    return (await kept.enter_async_context(services(settings.data_dir))).services

leave(serve(load(), say=lambda line: {SAY}, build=build))
"""


async def start(
    tmp_path: Path, log: IO[bytes] | None = None, /, **environment: str
) -> asyncio.subprocess.Process:
    """A server that has been started; :func:`address_of` waits until it serves.

    It logs to ``log``, or to its ``stderr``, which is then to be read: a full pipe would stop it.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT,
        stdout=asyncio.subprocess.PIPE,
        stderr=log or asyncio.subprocess.PIPE,
        env=os.environ | {"SURTITLE_DATA_DIR": str(tmp_path), "SURTITLE_PORT": "0"} | environment,
        cwd=tmp_path,
    )


async def address_of(process: asyncio.subprocess.Process) -> str:
    """Where it serves, as ``host:port``."""
    assert process.stdout is not None
    async for line in process.stdout:
        text = line.decode()
        if text.startswith("Open "):
            return text.split()[1].partition("#")[0].removeprefix("http://").rstrip("/")
    assert process.stderr is not None
    pytest.fail((await process.stderr.read()).decode())
