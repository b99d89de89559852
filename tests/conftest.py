"""Both homes of shared state, for the contract suites."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator

# Its pytest plugin would import it only in the summary, where CPython 3.11's `ast` can fail on the
# depth of the stack ("AST constructor recursion depth mismatch").
import hypothesis  # noqa: F401
import pytest

from guards.redis.address import parse
from guards.redis.client import RedisHome
from tests.redis_server import KINDS, RedisServer, redis_server


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RedisServer]]:
    """A server of each kind that is asked for; all tests use it, each under a prefix of its own."""
    started: dict[str, RedisServer] = {}

    def server(kind: str) -> RedisServer:
        if kind not in started:
            started[kind] = redis_server(tmp_path_factory.mktemp(kind), kind)
            started[kind].start()
        return started[kind]

    yield server
    for one in started.values():
        one.stop()


@pytest.fixture(
    params=["embedded", *(pytest.param(kind, marks=pytest.mark.redis) for kind in KINDS)]
)
async def redis(
    request: pytest.FixtureRequest, servers: Callable[[str], RedisServer]
) -> AsyncIterator[RedisHome | None]:
    """Which home a contract is held to: a connection to Redis, or None for the embedded one."""
    if request.param == "embedded":
        yield None
        return
    home = RedisHome(parse(servers(request.param).url), prefix=f"test-{secrets.token_hex(4)}")
    yield home
    await home.close()
