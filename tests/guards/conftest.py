"""Both homes of shared state, for the contract suites."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guards.redis.address import parse
from guards.redis.client import RedisHome
from guards.sqlite import Database
from tests.redis_server import RedisServer, redis_server


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that all tests use, each under a prefix of its own."""
    server = redis_server(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(params=["embedded", pytest.param("redis", marks=pytest.mark.redis)])
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[RedisHome | None]:
    """Which home a contract is held to: a connection to Redis, or None for the embedded one."""
    if request.param == "embedded":
        yield None
        return
    server: RedisServer = request.getfixturevalue("shared_redis")
    home = RedisHome(parse(server.url), prefix=f"test-{secrets.token_hex(4)}")
    yield home
    await home.close()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "surtitle.db")
    yield opened
    await opened.close()
