"""Servers to break: two that share a Redis, and one that keeps its state itself.

They are started once and broken one fault after the other, as a server in use would be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from bench.chaos.machine import lone_server
from bench.chaos.servers import pair as shared_servers
from bench.chaos.speech import Speech, speeches
from bench.chaos.stage import KEEP, Stage
from bench.load.speech import fitting
from tests.redis_server import RedisServer, running_redis
from tests.speech import audioeval_clips, dev_clips

STREAMS = 5
SECONDS = 12.0


@pytest.fixture(scope="session")
def said() -> list[Speech]:
    """Different speech for each stream."""
    clips = fitting(dev_clips()) or list(audioeval_clips("en"))
    return speeches(clips, count=STREAMS, seconds=SECONDS, seed=1)


@pytest.fixture(scope="session")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pair(
    tmp_path_factory: pytest.TempPathFactory, redis: RedisServer, said: list[Speech]
) -> AsyncIterator[Stage]:
    """Two servers on one Redis, rehearsed."""
    async with shared_servers(tmp_path_factory.mktemp("pair"), redis, **KEEP) as servers:
        stage = Stage(servers, said, redis)
        await stage.rehearse()
        yield stage


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def lone(
    tmp_path_factory: pytest.TempPathFactory, said: list[Speech]
) -> AsyncIterator[Stage]:
    """A server with a disk that can be filled and a clock that can be set, rehearsed."""
    async with lone_server(tmp_path_factory.mktemp("lone"), **KEEP) as server:
        stage = Stage([server], said)
        await stage.rehearse()
        yield stage
