from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from guards.errors import IssuerUnavailable
from guards.jwks import (
    ALGORITHMS,
    FRESH_SECONDS,
    PAUSE_SECONDS,
    STALE_SECONDS,
    RemoteKeys,
    derived_key_set,
    fetch,
    new_key,
    parse_key_set,
)
from tests.clock import Clock
from tests.guards.signing import ec_jwk, key_set, oct_jwk, rsa_jwk


class Url:
    """What stands at a URL. ``hold`` makes it slow."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.document = key_set(*keys)
        self.asked = 0
        self.down = False
        self.hold: asyncio.Event | None = None

    async def __call__(self, _: str) -> bytes:
        self.asked += 1
        if self.hold is not None:
            await self.hold.wait()
        if self.down:
            raise httpx.ConnectError("refused")
        return self.document


def test_a_file_of_ours_may_hold_keys_of_each_kind() -> None:
    keys = parse_key_set(key_set(oct_jwk(), rsa_jwk(), ec_jwk()), ours=True)
    assert [(kid, key.algorithm) for kid, key in keys.items()] == [
        ("oct", "HS256"),
        ("rsa", "RS256"),
        ("ec", "ES256"),
    ]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_a_new_key_is_one_of_ours(algorithm: str) -> None:
    made = new_key(algorithm, "2026")
    (key,) = parse_key_set(key_set(made), ours=True).values()
    assert (key.algorithm, made["kid"]) == (algorithm, "2026")
    assert key.signer is not None
    assert new_key(algorithm, "2026") != made


def test_there_is_no_key_for_other_algorithms() -> None:
    with pytest.raises(ValueError, match="none of ES256, HS256, RS256"):
        new_key("none", "2026")


def test_the_algorithm_follows_from_the_key_when_none_is_named() -> None:
    unnamed = [{k: v for k, v in key.items() if k != "alg"} for key in (oct_jwk(), ec_jwk())]
    keys = parse_key_set(key_set(*unnamed), ours=True)
    assert [key.algorithm for key in keys.values()] == ["HS256", "ES256"]


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (b"", "no JSON Web Key set"),
        (b"[" * 100_000, "no JSON Web Key set"),
        (b'{"keys": {}}', "no JSON Web Key set"),
        (b'{"keys": [1]}', "no JSON Web Key set"),
        (b'{"keys": []}', "holds no key"),
        (key_set(*[oct_jwk(str(number)) for number in range(65)]), "more than 64"),
        (key_set({**oct_jwk(), "kid": ""}), "key 1 has no `kid`"),
        (key_set(oct_jwk(secret=b"s" * 31)), "key 1 is too short"),
        (key_set(oct_jwk("a"), rsa_jwk(bits=1024)), "key 2 is too short"),
        (key_set({**rsa_jwk(private=False), "alg": "HS256"}), "another kind"),
        (key_set({**oct_jwk(), "alg": "RS256"}), "another kind"),
        (key_set({**oct_jwk(), "alg": "none"}), "holds no key"),
        (key_set({"kty": "RSA", "alg": "RS256", "kid": "x", "n": "!"}), "can't be read"),
    ],
)
def test_what_is_wrong_with_ours_is_said_without_the_key(document: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse_key_set(document, ours=True)
    assert oct_jwk(secret=b"s" * 31)["k"] not in str(caught.value)


def test_of_others_what_is_no_use_is_passed_over() -> None:
    keys = parse_key_set(
        key_set(
            oct_jwk(),
            rsa_jwk("weak", private=False, bits=1024),
            {**rsa_jwk("encryption", private=False), "use": "enc"},
            {**ec_jwk("other"), "alg": "ES384"},
            {**rsa_jwk("", private=False)},
            rsa_jwk("good", private=False),
            rsa_jwk("good", private=False),
        ),
        ours=False,
    )
    assert list(keys) == ["good"]


def test_without_a_file_the_key_follows_from_the_pepper() -> None:
    one, same, other = (derived_key_set(pepper * 32)["pepper"] for pepper in (b"a", b"a", b"b"))
    assert one.signer == same.signer != other.signer
    assert one.algorithm == "HS256"
    assert one.signer != b"a" * 32


async def test_keys_are_fetched_once() -> None:
    url = Url(rsa_jwk(private=False))
    keys = RemoteKeys("https://id.example/jwks", fetch=url, clock=Clock())
    found = await asyncio.gather(*(keys.find("rsa") for _ in range(20)))
    assert None not in found
    assert url.asked == 1


async def test_unknown_ids_do_not_make_it_ask_again_and_again() -> None:
    clock, url = Clock(), Url(rsa_jwk(private=False))
    keys = RemoteKeys("https://id.example/jwks", fetch=url, clock=clock)
    for number in range(50):
        assert await keys.find(f"made-up-{number}") is None
    assert url.asked == 1
    url.document = key_set(rsa_jwk(private=False), ec_jwk("new", private=False))
    clock.now += PAUSE_SECONDS
    assert await keys.find("new") is not None
    assert url.asked == 2


async def test_an_old_set_is_renewed_while_it_is_used() -> None:
    clock, url = Clock(), Url(rsa_jwk(private=False))
    keys = RemoteKeys("https://id.example/jwks", fetch=url, clock=clock)
    await keys.find("rsa")
    clock.now += FRESH_SECONDS
    url.hold = asyncio.Event()
    assert await keys.find("rsa") is not None  # nobody waits for the slow answer
    url.document = key_set(ec_jwk("ec", private=False))
    url.hold.set()
    assert await keys.find("ec") is not None
    assert await keys.find("rsa") is None
    assert url.asked == 2


async def test_keys_are_believed_for_a_day_when_their_url_is_gone() -> None:
    clock, url = Clock(), Url(rsa_jwk(private=False))
    keys = RemoteKeys("https://id.example/jwks", fetch=url, clock=clock)
    await keys.find("rsa")
    url.down = True
    clock.now += STALE_SECONDS - 1
    assert await keys.find("rsa") is not None
    clock.now += PAUSE_SECONDS
    with pytest.raises(IssuerUnavailable):
        await keys.find("rsa")
    await keys.close()


async def test_a_url_that_never_answered() -> None:
    url = Url()
    for document in (b"<html>", key_set()):
        url.document = document
        with pytest.raises(IssuerUnavailable) as caught:
            await RemoteKeys("https://id.example/jwks", fetch=url, clock=Clock()).find("rsa")
        assert caught.value.retry_after == PAUSE_SECONDS


@asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with contextlib.suppress(ConnectionError):  # who has read enough hangs up
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/jwks"


def response(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", "Connection: close", *headers))
    return lines.encode() + b"\r\n" + body


async def test_a_document_is_fetched_over_http() -> None:
    document = key_set(rsa_jwk(private=False))
    async with serving(response(document)) as url:
        assert json.loads(await fetch(url)) == json.loads(document)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (response(b"", "302 Found", "Location: http://127.0.0.1:1/"), "HTTP 302"),
        (response(b"", "404 Not Found"), "HTTP 404"),
        (response(b" " * 300_000), "longer than"),
    ],
)
async def test_what_is_not_taken_for_a_document(answer: bytes, said: str) -> None:
    async with serving(answer) as url:
        with pytest.raises(ValueError, match=said):
            await fetch(url)
