"""What is shown while Redis is away, on a real Redis that is stopped and started."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.app.observability.support import Scrape, caption, scrape
from tests.app.support import running
from tests.redis_server import RedisServer, running_redis

pytestmark = pytest.mark.redis

TOKEN = "the-token-that-prometheus-has"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running_redis(tmp_path / "redis") as server:
        yield server


async def shown(address: str, seen: Callable[[Scrape], bool]) -> Scrape:
    """The metrics, as soon as they are so."""
    async with asyncio.timeout(20):
        while True:
            found = await scrape(address, TOKEN)
            if seen(found):
                return found
            await asyncio.sleep(0.1)


async def test_an_outage_is_seen_while_it_lasts(tmp_path: Path, redis: RedisServer) -> None:
    settings: dict[str, Any] = {"redis_url": redis.url, "away_auth": "open"}
    async with running(tmp_path, metrics_token=TOKEN, **settings) as (address, fakes, _):
        await caption(address, fakes.key, "alpha bravo")
        before = await scrape(address, TOKEN)
        assert before.value("surtitle_store_up") == 1
        assert before.value("surtitle_store_outages_total") == 0
        assert before.value("surtitle_redis_command_seconds_count") > 3

        redis.stop()
        events = await caption(address, fakes.key, "alpha bravo")
        assert events[-1]["type"] == "done"
        away = await shown(address, lambda seen: seen.value("surtitle_usage_backlog") > 0)
        assert away.value("surtitle_store_up") == 0
        assert away.value("surtitle_store_outages_total") == 1

        redis.start()
        back = await shown(address, lambda seen: seen.value("surtitle_usage_backlog") == 0)
        assert back.value("surtitle_store_up") == 1
        assert back.value("surtitle_store_outages_total") == 1
