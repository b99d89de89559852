"""Several servers, or one that loses Redis for a while, on a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from app.cli import main
from app.server import ServeError, admin_key
from app.settings import SettingsError
from guards.leases import TTL
from guards.principal import Tier
from tests.app.server_process import address_of, start
from tests.app.support import ADMIN_KEY, Fakes, admin, rest, running, services
from tests.redis_server import RedisServer, running_redis
from tests.streaming.harness import s16, speech

pytestmark = pytest.mark.redis

PEPPER = "a pepper that all servers of this test share"
TEXT = {"text": "Hello.", "source": "en", "target": "pt"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of this test alone, to be stopped and started."""
    with running_redis(tmp_path / "redis") as redis:
        yield redis


def shared(server: RedisServer, prefix: str = "surtitle") -> dict[str, Any]:
    return {
        "redis_url": server.url,
        "redis_prefix": prefix,
        "pepper": PEPPER,
    }


@contextlib.asynccontextmanager
async def processes(
    tmp_path: Path, server: RedisServer, count: int
) -> AsyncIterator[list[tuple[asyncio.subprocess.Process, str]]]:
    """So many servers, each with a data directory of its own."""
    environment = {"REDIS_URL": server.url, "SURTITLE_PEPPER": PEPPER}
    started = []
    for number in range(count):
        directory = tmp_path / f"server {number}"
        directory.mkdir()
        started.append(await start(directory, **environment))
    try:
        yield [(process, await address_of(process)) for process in started]
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@contextlib.asynccontextmanager
async def served(
    tmp_path: Path, fakes: Fakes, **settings: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, Fakes]]:
    """A client, with the user's key, of one server in this process."""
    async with running(tmp_path, fakes, **settings) as (address, _, _):
        headers = {"Authorization": f"Bearer {fakes.key}"}
        async with httpx.AsyncClient(base_url=f"http://{address}", headers=headers) as http:
            yield http, fakes


async def issued(tmp_path: Path, server: RedisServer, **key: Any) -> tuple[str, str]:
    """A new key and its id."""
    async with services(tmp_path / "issuer", **shared(server)) as fakes:
        text, record = await fakes.services.keyring.issue(user_id="rui", **key)
        return text, record.key_id


def connected(address: str, key: str) -> connect:
    headers = {"Authorization": f"Bearer {key}"}
    return connect(f"ws://{address}/v1/stream", additional_headers=headers)


async def handshake(address: str, key: str) -> int:
    """The status it is answered with."""
    try:
        async with connected(address, key):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


async def begin(stream: ClientConnection) -> None:
    await stream.send(json.dumps({"type": "start", "source": "en"}))
    assert json.loads(await stream.recv())["type"] == "ready"


async def used(address: str, key: str, *, until: object) -> dict[str, Any]:
    """What ``GET /v1/usage`` says of today, once its audio and characters are these."""
    async with (
        asyncio.timeout(15),
        httpx.AsyncClient(base_url=f"http://{address}", headers={"X-API-Key": key}) as http,
    ):
        while True:
            answer = await http.get("/v1/usage")
            if answer.status_code == 200:
                today: dict[str, Any] = answer.json()["today"]
                if (today["audio_seconds"], today["characters"]) == until:
                    return today
            await asyncio.sleep(0.2)


async def test_a_thousand_requests_at_once_on_several_servers_admit_exactly_the_limit(
    tmp_path: Path, server: RedisServer
) -> None:
    # A day's limit and not a minute's: a busy machine may need more than a minute for them.
    limits = {
        "requests_per_minute": 10_000,
        "text_per_minute": 10_000,
        "requests_per_day": 137,
        "characters_per_day": 10**9,
    }
    key, _ = await issued(tmp_path, server, tier=Tier.PRO, limits=limits)
    async with processes(tmp_path, server, 3) as servers:
        timeout = httpx.Timeout(60)
        pool = httpx.Limits(max_connections=100)
        async with httpx.AsyncClient(
            headers={"X-API-Key": key}, timeout=timeout, limits=pool
        ) as http:
            answers = await asyncio.gather(
                *(
                    http.post(f"http://{servers[number % 3][1]}/translate/text", json=TEXT)
                    for number in range(1000)
                )
            )
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(200), statuses.count(429)) == (137, 863)
        assert (await usage_of(tmp_path, server, key))["characters"] == 137 * len("Hello.")


async def usage_of(tmp_path: Path, server: RedisServer, key: str) -> dict[str, Any]:
    """What is booked on a key, past its own limits."""
    async with services(tmp_path / "reader", **shared(server)) as fakes:
        principal = await fakes.services.keyring.authenticate(key)
        day = fakes.services.metering.charge(principal, None).day  # type: ignore[arg-type]  # only its day
        amount = await fakes.services.metering.usage.total(principal.key_id, day)
        return {
            "audio_seconds": amount.audio_ms / 1000,
            "characters": amount.characters,
            "requests": amount.requests,
        }


async def test_a_server_that_is_killed_frees_its_streams_and_books_to_within_seconds(
    tmp_path: Path, server: RedisServer
) -> None:
    key, _ = await issued(
        tmp_path,
        server,
        tier=Tier.FREE,
        limits={"stream_per_minute": 1000, "requests_per_minute": 1000},
    )
    async with processes(tmp_path, server, 2) as servers:
        (doomed, one), (_, other) = servers
        async with connected(one, key) as stream:
            await begin(stream)
            audio = s16(speech("alpha bravo charlie", "delta"))
            await stream.send(audio)
            while json.loads(await stream.recv())["type"] != "final":
                pass
            assert await handshake(other, key) == 429
            doomed.kill()
            await doomed.wait()
        killed = time.monotonic()
        while (status := await handshake(other, key)) != 101:
            assert status == 429
            await asyncio.sleep(0.2)
        assert time.monotonic() - killed < TTL + 5
        sent = len(audio) / 32_000
        booked = (await usage_of(tmp_path, server, key))["audio_seconds"]
        assert sent <= booked <= sent + 10


async def test_a_key_that_one_server_revokes_ends_the_streams_of_another(
    tmp_path: Path, server: RedisServer
) -> None:
    key, key_id = await issued(tmp_path, server, tier=Tier.FREE)
    async with (
        processes(tmp_path, server, 2) as servers,
        connected(servers[0][1], key) as stream,
        services(tmp_path / "reader", **shared(server)) as fakes,
    ):
        await begin(stream)
        await fakes.services.keyring.revoke(key_id)
        events = await asyncio.wait_for(rest(stream), 5)
        assert events[-1]["code"] == "key_revoked"


async def test_redis_goes_and_comes_back_under_a_stream(
    tmp_path: Path, server: RedisServer
) -> None:
    fakes = Fakes(tier=Tier.FREE)
    async with running(tmp_path, fakes, **shared(server)) as (address, _, _):
        async with connected(address, fakes.key) as stream:
            await begin(stream)
            phrases = ["alpha bravo", "charlie delta", "echo foxtrot"]
            pieces = [s16(speech(*[phrase] * 5)) for phrase in phrases]
            await stream.send(pieces[0])
            assert await finals(stream, 5) == ["alpha bravo"] * 5
            server.stop()
            await stream.send(pieces[1])
            assert await finals(stream, 5) == ["charlie delta"] * 5
            # Nobody new is let in, with a reason and a time to come back.
            await asyncio.sleep(2.1)  # a key that was found is believed for two seconds
            async with httpx.AsyncClient(headers={"X-API-Key": fakes.key}) as http:
                refused = await http.get(f"http://{address}/v1/usage")
            assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
            assert refused.headers["retry-after"]
            server.start()
            await stream.send(pieces[2])
            assert await finals(stream, 5) == ["echo foxtrot"] * 5
            await stream.send(json.dumps({"type": "stop"}))
            done = (await rest(stream))[-1]
            assert done["type"] == "done"
        seconds = pytest.approx(sum(map(len, pieces)) / 32_000, abs=0.01)
        assert done["audio_seconds"] == seconds
        assert (await used(address, fakes.key, until=(seconds, 0)))["requests"] == 1
        await asyncio.sleep(2.5)  # whatever was still to be settled is settled by now
        assert (await used(address, fakes.key, until=(seconds, 0)))["requests"] == 1


async def finals(stream: ClientConnection, count: int) -> list[str]:
    """The texts of the next finals."""
    texts: list[str] = []
    while len(texts) < count:
        event = json.loads(await stream.recv())
        assert event["type"] != "error", event
        if event["type"] == "final":
            texts.append(event["text"])
    return texts


async def test_open_believes_the_keys_that_are_known(tmp_path: Path, server: RedisServer) -> None:
    options = shared(server) | {"away_auth": "open"}
    async with served(tmp_path, Fakes(), **options) as (http, fakes):
        assert (await http.post("/translate/text", json=TEXT)).status_code == 200
        server.stop()
        fakes.services.keyring._clock = lambda: time.time() + 60
        assert (await http.post("/translate/text", json=TEXT)).status_code == 200
        unknown = {"Authorization": "Bearer another-key"}
        assert (await http.post("/translate/text", json=TEXT, headers=unknown)).status_code == 503
        server.start()
        # One is in Redis already, the other waits to be booked.
        assert (await used(http.base_url.netloc.decode(), fakes.key, until=(0, 12)))[
            "requests"
        ] == 2


async def test_limits_hold_by_themselves_while_redis_is_away(
    tmp_path: Path, server: RedisServer
) -> None:
    options = shared(server) | {"away_auth": "open"}
    async with served(tmp_path, Fakes(tier=Tier.FREE), **options) as (http, _):
        assert (await http.post("/translate/text", json=TEXT)).status_code == 200
        server.stop()
        statuses = [(await http.post("/translate/text", json=TEXT)).status_code for _ in range(12)]
        assert statuses == [200] * 10 + [429] * 2


async def test_metering_may_be_closed(tmp_path: Path, server: RedisServer) -> None:
    options = shared(server) | {"away_auth": "open", "away_metering": "closed"}
    async with served(tmp_path, Fakes(), **options) as (http, _):
        assert (await http.post("/translate/text", json=TEXT)).status_code == 200
        server.stop()
        refused = await http.post("/translate/text", json=TEXT)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")


async def test_the_shell_works_on_redis_too(
    tmp_path: Path, server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shell").mkdir()
    monkeypatch.chdir(tmp_path / "shell")
    for name, value in {
        "REDIS_URL": server.url,
        "SURTITLE_PEPPER": PEPPER,
        "SURTITLE_DATA_DIR": str(tmp_path / "shell"),
    }.items():
        monkeypatch.setenv(name, value)

    async def shell(*arguments: str) -> str:
        done = await asyncio.to_thread(CliRunner().invoke, main, arguments)
        assert done.exit_code == 0, done.output
        return done.stdout

    key = (await shell("keys", "create", "--user", "rui")).strip()
    async with served(tmp_path / "server", Fakes(), **shared(server)) as (http, _):
        mine = {"Authorization": f"Bearer {key}"}
        assert (await http.post("/translate/text", json=TEXT, headers=mine)).status_code == 200
    assert "rui,,,0.0,6,1" in await shell("usage", "--csv")
    server.stop()
    away = await asyncio.to_thread(CliRunner().invoke, main, ["usage"])
    assert (away.exit_code, away.stderr) == (1, "REDIS_URL: Redis does not answer\n")


async def test_servers_with_another_pepper_are_told_so(tmp_path: Path, server: RedisServer) -> None:
    async with services(tmp_path, **shared(server)):
        pass
    other = shared(server) | {"pepper": secrets.token_hex(32)}
    with pytest.raises(SettingsError, match=r"^SURTITLE_PEPPER: "):
        async with services(tmp_path, **other):
            pass


async def test_without_redis_the_start_stops_with_one_line(
    tmp_path: Path, server: RedisServer
) -> None:
    server.stop()
    with pytest.raises(SettingsError, match=r"^REDIS_URL: Redis does not answer$"):
        async with services(tmp_path, redis_wait_seconds=0, **shared(server)):
            pass


async def waiting(tmp_path: Path, server: RedisServer) -> tuple[asyncio.subprocess.Process, Path]:
    """A server that has been started without Redis, and its log."""
    server.stop()
    log = tmp_path / "log"
    environment = {"REDIS_URL": server.url, "SURTITLE_PEPPER": PEPPER}
    with log.open("wb") as file:
        process = await start(tmp_path, file, **environment)
    async with asyncio.timeout(30):
        while b"redis does not answer" not in log.read_bytes():  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.05)
    return process, log


@pytest.mark.parametrize("back", [True, False])
async def test_a_server_that_starts_waits_for_redis_and_can_be_stopped(
    tmp_path: Path, server: RedisServer, back: bool
) -> None:
    process, log = await waiting(tmp_path, server)
    if back:
        server.start()
        async with httpx.AsyncClient(base_url=f"http://{await address_of(process)}") as http:
            assert (await http.get("/health/simple")).status_code == 200
    process.terminate()
    await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in log.read_bytes()


@pytest.mark.parametrize("wait", [0, 30])
async def test_redis_that_is_lost_while_models_load_is_waited_for(
    tmp_path: Path, server: RedisServer, wait: float
) -> None:
    async with services(tmp_path, redis_wait_seconds=wait, **shared(server)) as found:
        server.stop()
        asking = asyncio.create_task(admin_key(found.services))
        if wait:
            await asyncio.sleep(0.5)
            assert not asking.done()
            server.start()
            assert await asking is None, "there is one already"
        else:
            with pytest.raises(ServeError, match=r"^REDIS_URL: Redis does not answer\.$"):
                await asking


async def test_everything_that_may_be_forgotten_has_an_end_and_all_have_the_prefix(
    tmp_path: Path, server: RedisServer
) -> None:
    import redis.asyncio

    async with running(tmp_path, **shared(server, "mine")) as (address, fakes, _):
        async with httpx.AsyncClient(headers={"X-API-Key": fakes.key}) as http:
            await http.post(f"http://{address}/translate/text", json=TEXT)
            ticket = (await http.post(f"http://{address}/v1/tickets")).json()["ticket"]
        async with connected(address, fakes.key) as stream:
            await begin(stream)
            await stream.send(s16(speech("alpha")))
            await finals(stream, 1)
            connection = redis.asyncio.Redis.from_url(server.url)
            keys = [key.decode() async for key in connection.scan_iter()]
            kept = [key for key in keys if await connection.ttl(key) < 0]
            held = b"".join([key.encode() + (await connection.dump(key) or b"") for key in keys])
            await connection.aclose()
    assert {key.split(":")[0] for key in keys} == {"mine"}
    for part in ("windows", "leases", "settled", "ticket", "tickets"):
        assert any(f":{part}:" in key for key in keys), part
    assert {key.split(":")[1] for key in kept} == {"usage", "{keys}", "pepper"}
    for secret in (fakes.key, ticket, PEPPER):
        assert secret.encode() not in held


async def test_redis_holds_no_secret_in_clear(tmp_path: Path, server: RedisServer) -> None:
    data = tmp_path / "data"
    data.mkdir()
    async with running(data, **shared(server)) as (address, fakes, _):
        keyring = fakes.services.keyring
        new, _ = await keyring.rotate(fakes.record.key_id, overlap=60)
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            headers = {"Authorization": f"Bearer {fakes.key}"}
            token = (await http.post("/auth/token", headers=headers)).json()["token"]
            tickets = [
                (await http.post("/v1/tickets", headers=headers)).json()["ticket"] for _ in range(2)
            ]
            await http.delete(f"/auth/api-key/{new}", headers=admin())
        async with connect(f"ws://{address}/v1/stream?ticket={tickets[0]}") as socket:
            await socket.send(json.dumps({"type": "start"}))
            await socket.recv()
    server.stop()
    places = {
        str(file.relative_to(tmp_path)): file.read_bytes()
        for file in tmp_path.rglob("*")  # noqa: ASYNC240 - a test directory
        if file.is_file()
    }
    written = b"".join(content for name, content in places.items() if "appendonly" in name)
    assert fakes.record.key_id.encode() in written, "nothing was looked at"
    for place, content in places.items():
        for secret in (fakes.key, new, token, *tickets, ADMIN_KEY, PEPPER):
            assert secret.encode() not in content, place
