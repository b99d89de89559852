"""NGINX before API processes on fakes that share a Redis: what is passed on, and what is not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.app.server_process import address_of, start
from tests.app.support import admin, rest, wav
from tests.ops.proxy import Proxy, proxy
from tests.redis_server import running_redis
from tests.streaming.harness import s16, speech

pytestmark = pytest.mark.ops

PEPPER = "a pepper that all servers of this test share"


@dataclass(frozen=True, slots=True)
class Site:
    """NGINX, and the processes behind it by their addresses."""

    proxy: Proxy
    processes: dict[str, asyncio.subprocess.Process]

    def client(self, **headers: str) -> httpx.AsyncClient:
        """A client that keeps no cookie, unless it is given."""
        return httpx.AsyncClient(base_url=self.proxy.url, verify=self.proxy.tls, headers=headers)

    async def open(self, query: str = "", **headers: str) -> ClientConnection:
        """A stream that has begun."""
        socket = await connect(
            self.proxy.stream_url + query, ssl=self.proxy.tls, additional_headers=headers
        )
        await socket.send(json.dumps({"type": "start", "source": "en"}))
        assert json.loads(await socket.recv())["type"] == "ready"
        return socket

    async def server_of(self, cookie: str) -> str:
        """The process that a browser with this cookie keeps to."""
        async with self.client(cookie=f"surtitle_lb={cookie}") as http:
            response = await http.get("/languages")
            assert response.status_code == 200
        (entry,) = await self.logged(request_id=response.headers["x-request-id"])
        return str(entry["upstream"])

    async def logged(self, **fields: Any) -> list[dict[str, Any]]:
        """The entries of the access log with these fields, which come when a request is over."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            found = [one for one in self.proxy.entries() if fields.items() <= one.items()]
            if found:
                return found
            await asyncio.sleep(0.02)
        raise AssertionError(f"nothing with {fields} in the access log: {self.proxy.entries()}")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Two processes behind NGINX."""
    started = []
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(running_redis(tmp_path / "redis"))
        for number in (1, 2):
            folder = tmp_path / f"data-{number}"
            folder.mkdir()
            log = stack.enter_context((folder / "log").open("wb"))
            process = await start(
                folder,
                log,
                REDIS_URL=redis.url,
                SURTITLE_PEPPER=PEPPER,
                SURTITLE_TRUSTED_PROXIES="127.0.0.1",
                SURTITLE_DRAIN_TIMEOUT_SECONDS="5",
            )
            started.append(process)
        try:
            processes = {await address_of(process): process for process in started}
            with proxy(tmp_path / "nginx", processes) as front:
                yield Site(front, processes)
        finally:
            for process in started:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.communicate()


async def test_a_stream_over_tls_with_a_ticket_that_is_in_no_log(site: Site) -> None:
    async with site.client(**admin()) as http:
        ticket = (await http.post("/v1/tickets")).json()["ticket"]
    socket = await site.open(f"?ticket={ticket}")
    await socket.send(s16(speech("alpha bravo charlie")))
    await socket.send(json.dumps({"type": "stop"}))
    events = await rest(socket)
    assert "final" in [event["type"] for event in events]
    assert socket.close_code == 1000
    (entry,) = await site.logged(path="/v1/stream")
    assert (entry["status"], entry["upgrade"]) == (101, "websocket")
    with pytest.raises(InvalidStatus) as used_up:
        await site.open(f"?ticket={ticket}")
    assert used_up.value.response.status_code == 401
    assert json.loads(used_up.value.response.body or b"")["code"] == "invalid_credential"
    await site.logged(path="/v1/stream", status=401)
    assert ticket not in site.proxy.logs()


async def test_http_is_sent_to_https(site: Site) -> None:
    async with httpx.AsyncClient() as http:
        response = await http.get(f"http://127.0.0.1:{site.proxy.http_port}/languages?a=b")
    assert response.status_code == 308
    assert response.headers["location"] == "https://127.0.0.1/languages?a=b"


async def test_a_browser_keeps_to_one_process_and_programs_are_spread(site: Site) -> None:
    async with site.client(accept="text/html") as http:
        page = await http.get("/")
        assert "<html" in page.text
        cookie = page.cookies["surtitle_lb"]
        assert {"Secure", "HttpOnly", "SameSite=Strict"} <= {
            part.strip() for part in page.headers["set-cookie"].split(";")
        }
        assert "set-cookie" not in (await http.get("/")).headers  # it has one
    assert len({await site.server_of(cookie) for _ in range(5)}) == 1
    async with site.client() as http:
        for _ in range(40):
            response = await http.get("/health")
            assert response.status_code == 200
            assert "set-cookie" not in response.headers
    used = {entry["upstream"] for entry in await site.logged(path="/health")}
    assert used == set(site.processes)


async def test_a_process_that_is_killed_is_replaced_by_the_other(site: Site) -> None:
    socket = await site.open(cookie="surtitle_lb=browser", **admin())
    await socket.send(s16(speech("alpha bravo charlie")))
    gone = await site.server_of("browser")
    site.processes[gone].kill()
    await site.processes[gone].wait()
    await rest(socket)
    assert socket.close_code != 1000
    # The same browser comes back, and so do others: nobody is told of it.
    again = await site.open(cookie="surtitle_lb=browser", **admin())
    async with site.client() as http:
        for _ in range(20):
            assert (await http.get("/languages")).status_code == 200
        text = {"text": "Hello.", "source": "en", "target": "pt"}
        assert (await http.post("/translate/text", json=text, headers=admin())).status_code == 200
    await again.close()


async def test_a_process_that_drains_sends_newcomers_to_the_other(site: Site) -> None:
    going = await site.server_of("browser")
    socket = await site.open(cookie="surtitle_lb=browser", **admin())
    await socket.send(s16(speech("alpha bravo charlie")))
    site.processes[going].terminate()
    while True:  # until it drains, with the stream still open
        async with httpx.AsyncClient() as http:
            try:
                ready = await http.get(f"http://{going}/health/simple")
            except httpx.TransportError:
                break  # it closed its port
        if ready.status_code == 503:
            break
    for _ in range(5):
        newcomer = await site.open(cookie="surtitle_lb=browser", **admin())
        await newcomer.close()
    # What was said on the old one got its final.
    assert "final" in [event["type"] for event in await rest(socket)]
    assert await site.processes[going].wait() == 0


async def test_nobody_there_is_a_problem_like_any_other(site: Site) -> None:
    for process in site.processes.values():
        process.kill()
        await process.wait()
    async with site.client() as http:
        for path in ("/languages", "/v1/stream?ticket=tk_secret"):
            response = await http.get(path)
            assert response.status_code == 503
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["retry-after"] == "5"
            assert response.json()["code"] == "service_error"
    await site.logged(path="/v1/stream")
    assert "tk_secret" not in site.proxy.logs()


async def test_an_address_opens_only_so_many_streams_a_second(site: Site) -> None:
    async def knock() -> httpx.Response:
        async with site.client(upgrade="websocket", connection="upgrade") as http:
            return await http.get("/v1/stream?ticket=tk_secret")

    answers = []
    for _ in range(15):
        answers += await asyncio.gather(*(knock() for _ in range(20)))
    refused = [answer for answer in answers if answer.status_code == 429]
    # Some by NGINX, in its own words (the server counts wrong credentials, too).
    ours = [one.json() for one in refused if "opened from this address" in one.text]
    assert ours
    assert ours[0]["code"] == "rate_limited"
    assert ours[0]["retryable"]
    assert "tk_secret" not in site.proxy.logs()
    async with site.client() as http:  # requests are not handshakes
        assert (await http.get("/languages")).status_code == 200


async def test_what_strangers_say_of_their_address_is_not_believed(site: Site) -> None:
    forged = {"x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "http", "forwarded": "for=x"}
    async with site.client(**admin(), **forged) as http:
        assert (await http.post("/admin/cache/clear")).status_code == 200
        entry = (await http.get("/admin/audit")).json()["entries"][0]
        assert entry["address"] == "127.0.0.1"
        # And that of the proxy is: the server knows that it is reached over TLS.
        response = await http.get("/languages")
    assert response.headers["strict-transport-security"]


async def test_a_page_of_this_origin_may_connect_and_others_may_not(site: Site) -> None:
    socket = await site.open(origin=site.proxy.url, **admin())
    await socket.close()
    with pytest.raises(InvalidStatus) as refused:
        await site.open(origin="https://elsewhere.example", **admin())
    assert refused.value.response.status_code == 403


async def test_uploads_are_passed_on_as_they_come_and_judged_by_the_server(site: Site) -> None:
    async with site.client(**admin()) as http:
        file = {"file": ("talk.wav", wav(speech("alpha bravo charlie")))}
        done = await http.post("/transcribe/audio", files=file)
        assert done.status_code == 200, done.text
        huge = {"file": ("huge.wav", b"\0" * (201 * 1024 * 1024))}
        refused = await http.post("/transcribe/audio", files=huge, timeout=60)
        assert refused.status_code == 413
        assert refused.json()["code"] == "payload_too_large"


async def test_metrics_are_not_for_outside_and_health_is(site: Site) -> None:
    async with site.client(**admin()) as http:
        assert (await http.get("/metrics")).status_code == 404
        ready = await http.get("/health/simple")
        assert ready.json() == {"status": "ok"}
        assert (await http.get("/health")).json()["status"] == "ok"
    assert not [entry for entry in site.proxy.entries() if entry["path"] == "/health/simple"]
