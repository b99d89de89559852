"""Metering on a real store that comes and goes."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.errors import QuotaExceeded, StoreUnavailable
from guards.metering import Metering
from guards.principal import Principal, Tier
from guards.sqlite import Database
from guards.sqlite_usage import SqliteJournal, SqliteUsage
from guards.stream_meter import CHUNK_MS, StreamMeter
from guards.tiers import DEFAULTS
from guards.usage import UNBOUNDED, Amount, Charge, DayUsage, Quota, Receipt

NOON = 1_795_608_000.0  # 2026-11-25T12:00:00Z
DAY = date(2026, 11, 25)
ANA = Principal(key_id="key_1", user_id="ana", tier=Tier.FREE)
LIMITS = replace(DEFAULTS[Tier.FREE], audio_minutes_per_day=1, characters_per_day=100)

State = Literal["here", "away", "mute"]


class Shared:
    """A usage store that may be away, or book what it is told and lose the answer."""

    def __init__(self, store: SqliteUsage) -> None:
        self.store = store
        self.state: State = "here"

    async def book(
        self, charge: Charge, quota: Quota = UNBOUNDED, *, whole: bool = True
    ) -> Receipt:
        if self.state == "away":
            raise StoreUnavailable("away")
        receipt = await self.store.book(charge, quota, whole=whole)
        if self.state == "mute":
            raise StoreUnavailable("no answer")
        return receipt

    async def total(self, key_id: str, day: date) -> Amount:
        if self.state != "here":
            raise StoreUnavailable("away")
        return await self.store.total(key_id, day)

    async def report(
        self, first: date, last: date, key_ids: Sequence[str] | None = None
    ) -> list[DayUsage]:
        return await self.store.report(first, last, key_ids)


class World:
    def __init__(self, shared: Database, own: Database, *, closed: bool = False) -> None:
        self.now = NOON
        self.shared = Shared(SqliteUsage(shared))
        self.metering = Metering(
            self.shared, SqliteJournal(own), closed=closed, clock=lambda: self.now
        )

    async def used(self, day: date = DAY) -> Amount:
        return await self.shared.store.total("key_1", day)


@asynccontextmanager
async def world(directory: Path, *, closed: bool = False) -> AsyncIterator[World]:
    shared = await Database.open(directory / "shared.db")
    own = await Database.open(directory / "own.db")
    try:
        yield World(shared, own, closed=closed)
    finally:
        await shared.close()
        await own.close()


async def test_a_request_books_before_its_work_and_gives_back_when_it_fails(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as here:
        async with here.metering.request(ANA, LIMITS, Amount(characters=60)):
            assert await here.used() == Amount(0, 60, 1)
        with pytest.raises(ZeroDivisionError):
            async with here.metering.request(ANA, LIMITS, Amount(characters=40)):
                raise ZeroDivisionError
        assert await here.used() == Amount(0, 60, 1)
        with pytest.raises(QuotaExceeded) as caught:
            async with here.metering.request(ANA, LIMITS, Amount(characters=41)):
                pass
        assert caught.value.retry_after == 12 * 3600
        assert caught.value.details == {"quota": "characters"}


async def test_a_stream_reserves_ahead_and_settles_exactly(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        meter = StreamMeter(here.metering, ANA, LIMITS, "s1")
        await meter.spend(0, 0)
        assert await here.used() == Amount()
        for audio_ms in range(100, 12_000, 100):
            await meter.spend(audio_ms, 0)
            booked = (await here.used()).audio_ms
            assert audio_ms <= booked <= audio_ms + CHUNK_MS
        await meter.close(11_950, 31)
        await meter.close(11_950, 31)
        assert await here.used() == Amount(11_950, 31, 1)


async def test_a_stream_is_warned_once_and_ends_at_the_quota(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        meter = StreamMeter(here.metering, ANA, LIMITS, "s1")
        warned = []
        for audio_ms in range(300, 60_001, 300):
            found = await meter.spend(audio_ms, 0)
            warned += [(audio_ms, warning.code, warning.details) for warning in found]
        with pytest.raises(QuotaExceeded) as caught:
            await meter.spend(60_300, 0)
        assert caught.value.details == {"quota": "audio"}
        (at, code, details) = warned[0]
        assert (len(warned), code, details["quota"]) == (1, "quota_low", "audio_seconds")
        assert 54_000 - CHUNK_MS <= at <= 54_300
        await meter.close(60_300, 0)
        assert await here.used() == Amount(60_300, 0, 1)
        with pytest.raises(QuotaExceeded):
            await here.metering.require_quota(ANA, LIMITS)


async def test_characters_end_a_stream_too(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        meter = StreamMeter(here.metering, ANA, LIMITS, "s1")
        assert await meter.spend(100, 80) == []
        (warning,) = await meter.spend(5_100, 99)
        assert warning.details == {"quota": "characters", "used": 99, "limit": 100}
        with pytest.raises(QuotaExceeded) as caught:
            await meter.spend(10_100, 100)
        assert caught.value.details == {"quota": "characters"}


async def test_who_translates_nothing_is_not_warned_of_characters(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        async with here.metering.request(ANA, LIMITS, Amount(characters=95)):
            pass
        meter = StreamMeter(here.metering, ANA, LIMITS, "s1")
        assert await meter.spend(100, 0) == []
        (warning,) = await meter.spend(5_100, 1)
        assert warning.details["quota"] == "characters"


async def test_two_streams_share_a_quota(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        one, other = (StreamMeter(here.metering, ANA, LIMITS, s) for s in ("s1", "s2"))
        for audio_ms in range(100, 30_001, 100):
            await one.spend(audio_ms, 0)
            await other.spend(audio_ms, 0)
        with pytest.raises(QuotaExceeded):
            await one.spend(30_100, 0)
        with pytest.raises(QuotaExceeded):
            await other.spend(30_100, 0)


async def test_a_day_ends_while_a_stream_runs(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        meter = StreamMeter(here.metering, ANA, LIMITS, "s1")
        await meter.spend(4_000, 0)
        here.now += 86_400
        await meter.spend(6_000, 0)
        await meter.close(7_000, 0)
        assert (await here.used()).audio_ms == 5_000
        assert (await here.used(date(2026, 11, 26))).audio_ms == 2_000


async def test_while_the_store_is_away_usage_is_kept_and_booked_later(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        meter = StreamMeter(here.metering, ANA, LIMITS, "s1")
        await meter.spend(4_000, 0)
        here.shared.state = "away"
        await meter.spend(9_000, 10)
        await meter.close(9_500, 12)
        async with here.metering.request(ANA, LIMITS, Amount(characters=30)):
            pass
        assert await here.used() == Amount(5_000, 0, 1)
        with pytest.raises(StoreUnavailable):
            await here.metering.settle()
        here.shared.state = "here"
        assert await here.metering.settle() == 3
        assert await here.used() == Amount(9_500, 42, 2)
        assert await here.metering.settle() == 0


async def test_what_waits_outlives_the_process(tmp_path: Path) -> None:
    async with world(tmp_path) as before:
        before.shared.state = "away"
        async with before.metering.request(ANA, LIMITS, Amount(characters=30)):
            pass
    async with world(tmp_path) as after:
        assert await after.metering.settle() == 1
        assert await after.used() == Amount(0, 30, 1)


async def test_quotas_hold_while_the_store_is_away_as_far_as_is_known(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        async with here.metering.request(ANA, LIMITS, Amount(characters=90)):
            pass
        here.shared.state = "away"
        with pytest.raises(QuotaExceeded):
            async with here.metering.request(ANA, LIMITS, Amount(characters=11)):
                pass
        await here.metering.require_quota(ANA, LIMITS)


async def test_closed_means_that_nothing_new_is_taken(tmp_path: Path) -> None:
    async with world(tmp_path, closed=True) as here:
        meter = StreamMeter(here.metering, ANA, LIMITS, "s1")
        await meter.spend(4_000, 0)
        here.shared.state = "away"
        with pytest.raises(StoreUnavailable):
            async with here.metering.request(ANA, LIMITS, Amount(characters=1)):
                pass
        with pytest.raises(StoreUnavailable):
            await here.metering.require_quota(ANA, LIMITS)
        await meter.spend(9_000, 0)
        await meter.close(9_000, 0)
        here.shared.state = "here"
        await here.metering.settle()
        assert (await here.used()).audio_ms == 9_000


steps = st.lists(
    st.tuples(
        st.sampled_from(["stream", "text", "settle"]),
        st.integers(1, 7_000),
        st.sampled_from(["here", "away", "mute"]),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(steps=steps)
def test_whatever_is_lost_on_the_way_all_is_booked_once(
    steps: list[tuple[str, int, State]],
) -> None:
    async def run() -> None:
        with tempfile.TemporaryDirectory() as directory:
            async with world(Path(directory)) as here:
                limits = DEFAULTS[Tier.ENTERPRISE]
                meter = StreamMeter(here.metering, ANA, limits, "s1")
                audio_ms = characters = requests = 0
                for what, much, state in steps:
                    here.shared.state = state
                    if what == "stream":
                        audio_ms += much
                        await meter.spend(audio_ms, 0)
                    elif what == "text":
                        characters += much
                        requests += 1
                        amount = Amount(characters=much)
                        async with here.metering.request(ANA, limits, amount):
                            pass
                    elif state == "here":
                        await here.metering.settle()
                await meter.close(audio_ms, 0)
                here.shared.state = "here"
                await here.metering.settle()
                streams = 1 if audio_ms else 0
                assert await here.used() == Amount(audio_ms, characters, requests + streams)

    asyncio.run(run())


async def test_a_grant_that_was_smaller_than_what_was_used_is_made_up_for(tmp_path: Path) -> None:
    async with world(tmp_path) as here:
        async with here.metering.request(ANA, LIMITS, Amount(audio_ms=58_000)):
            pass
        here.metering._known.clear()
        here.shared.state = "mute"
        meter = StreamMeter(here.metering, ANA, LIMITS, "s1")
        await meter.spend(4_000, 0)  # 2 s were granted and nobody heard of it; 5 s were noted here
        await meter.close(4_000, 0)
        here.shared.state = "here"
        await here.metering.settle()
        assert await here.used() == Amount(62_000, 0, 2)
