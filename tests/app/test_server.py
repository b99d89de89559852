from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from app.server import ServeError, bind
from tests.app.server_process import SAY, SCRIPT, address_of, start
from tests.app.support import admin, rest, running
from tests.streaming.harness import s16, speech


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_well_and_streams_get_their_finals(
    tmp_path: Path, number: signal.Signals
) -> None:
    process = await start(tmp_path)
    address = await address_of(process)
    async with connect(f"ws://{address}/v1/stream", additional_headers=admin()) as socket:
        await socket.send(json.dumps({"type": "start"}))
        assert json.loads(await socket.recv())["type"] == "ready"
        await socket.send(s16(speech("alpha bravo")[: -16_000 // 2]))
        process.send_signal(number)
        events = await rest(socket)
        (warning,) = [event for event in events if event["type"] == "warning"]
        assert (warning["code"], warning["details"]["resume"]) == ("draining", False)
        # Nobody can go on with it, so it is complete.
        assert [event["text"] for event in events if event["type"] == "final"] == ["alpha bravo"]
        assert events[-1]["type"] == "done"
        assert socket.close_code == 1012
    _, log = await process.communicate()
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log


async def test_a_stop_while_models_load_is_a_stop(tmp_path: Path) -> None:
    script = (
        f"import sys, time, asyncio; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from app.server import leave, serve\nfrom app.settings import load\n"
        "async def build(settings, say):\n"
        "    say('loading')\n    await asyncio.to_thread(time.sleep, 3600)\n"
        "leave(serve(load(), say=lambda line: print(line, flush=True), build=build))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        script,
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"SURTITLE_DATA_DIR": str(tmp_path), "SURTITLE_PORT": "0"},
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"loading\n"
    process.terminate()
    assert await process.wait() == 0


async def test_what_stays_is_not_looked_through_for_garbage(tmp_path: Path) -> None:
    counts = "print(gc.get_freeze_count(), gc.get_threshold()[0], line, flush=True)"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        SCRIPT.replace(SAY, counts),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=os.environ | {"SURTITLE_DATA_DIR": str(tmp_path), "SURTITLE_PORT": "0"},
    )
    assert process.stdout is not None
    loading = (await process.stdout.readline()).split()
    serving = (await process.stdout.readline()).split()
    process.terminate()
    await process.communicate()
    assert int(loading[0]) < 1_000
    assert int(serving[0]) > 10_000
    assert int(serving[1]) > int(loading[1])


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServeError, match=f"^port {port} on 127.0.0.1 is in use; .*") as caught:
            bind("127.0.0.1", port)
        assert "\n" not in str(caught.value)


def test_a_host_that_is_none() -> None:
    with pytest.raises(ServeError, match=r"can't listen on host\.invalid"):
        bind("host.invalid", 0)


async def test_a_message_beyond_the_applications_bound_is_answered_by_the_application(
    tmp_path: Path,
) -> None:
    async with (
        running(tmp_path, max_message_bytes=4096) as (address, _, _),
        connect(f"ws://{address}/v1/stream", additional_headers=admin()) as stream,
    ):
        await stream.send(json.dumps({"type": "start"}))
        await stream.send(b"\0" * 2_000_000)
        events = await rest(stream)
        assert [event["code"] for event in events if event["type"] == "error"] == [
            "message_too_large"
        ]
        assert stream.close_code == 4413


@pytest.mark.parametrize("credential", ["key", "token", "ticket"])
async def test_a_revoked_keys_stream_ends_within_seconds(tmp_path: Path, credential: str) -> None:
    async with running(tmp_path) as (address, fakes, _):
        principal = await fakes.services.keyring.authenticate(fakes.key)
        secret, query = fakes.key, ""
        if credential == "token":
            secret = fakes.services.tokens.issue(principal)
        elif credential == "ticket":
            query = f"?ticket={await fakes.services.tickets.issue(principal)}"
        headers = {} if query else {"X-API-Key": secret}
        url = f"ws://{address}/v1/stream{query}"
        async with asyncio.timeout(5 + 1), connect(url, additional_headers=headers) as stream:
            await stream.send(json.dumps({"type": "start"}))
            await stream.recv()
            await fakes.services.keyring.revoke(principal.key_id)
            events = await rest(stream)
            assert events[-1]["code"] == "key_revoked"
            assert stream.close_code == 4401
