"""Workers that hang, and SIGTERM at every moment, on the real server with real models."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.e2e.client import REAL_TIME, assert_well_formed, s16, stream
from tests.e2e.server import ALL_COMERS, SURTITLE, Server, serving
from tests.speech import audioeval_clips

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

FAULTY = [sys.executable, str(Path(__file__).with_name("faulty_server.py"))]


async def until_logged(server: Server, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in server.log.read_text():
        assert time.monotonic() < deadline, server.log.read_text()[-3000:]
        await asyncio.sleep(0.05)


async def test_a_hung_worker_costs_no_word_and_no_stop(tmp_path: Path) -> None:
    clip = next(clip for clip in audioeval_clips("en") if "fox" in clip.id)
    settings = {"SURTITLE_MODEL_TIMEOUT_SECONDS": "5", **ALL_COMERS}
    with serving(tmp_path, FAULTY, **settings) as server:
        before = (await stream(server, s16(clip.audio()), source="en")).text
        assert "fox" in before
        server.process.send_signal(signal.SIGUSR1)
        sessions = await asyncio.gather(
            *(stream(server, s16(clip.audio()), source="en") for _ in range(4))
        )
        for session in sessions:
            assert_well_formed(session)
            # With how much care it is decoded depends on the load, not on what hangs.
            assert session.text.lower() == before.lower()
            assert session.of("error") == []
        assert server.log.read_text().count("hangs\n") == 1
        async with httpx.AsyncClient(base_url=server.url) as http:
            staff = (await http.get("/health")).json()["staff"]["speech"]
            assert (await http.get("/health/simple")).status_code == 200
        assert (staff["hung"], staff["abandoned"], staff["exhausted"]) == (1, 1, False)
        assert staff["retried"] >= 1
        # And it is stopped with a call that hangs in it.


async def test_a_stop_while_a_call_has_begun_to_hang(tmp_path: Path) -> None:
    clip = audioeval_clips("en")[0]
    with serving(tmp_path, FAULTY, SURTITLE_DRAIN_TIMEOUT_SECONDS="2") as server:
        server.process.send_signal(signal.SIGUSR1)
        asking = asyncio.create_task(stream(server, s16(clip.audio()), source="en"))
        await until_logged(server, "hangs\n")
        server.process.send_signal(signal.SIGTERM)
        await asyncio.wait({asking})
        asking.exception()  # how it was cut off does not matter here


async def test_a_stop_in_the_middle_of_batches(tmp_path: Path) -> None:
    clip = audioeval_clips("en")[0]
    with serving(tmp_path, **ALL_COMERS) as server:
        asking = [
            asyncio.create_task(
                stream(server, s16(clip.audio()), frame=3200, pace=REAL_TIME, source="en")
            )
            for _ in range(3)
        ]
        await asyncio.sleep(1.5)
        server.process.send_signal(signal.SIGTERM)
        for session in await asyncio.gather(*asking):
            assert session.of("final"), "what was said until then is finished"


@pytest.mark.parametrize("line", ["voice activity", "speech model base"])
async def test_a_stop_while_models_are_loaded(tmp_path: Path, line: str) -> None:
    with serving(tmp_path, SURTITLE, False) as server:
        await until_logged(server, line)
