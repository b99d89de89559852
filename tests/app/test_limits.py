"""Limits as clients meet them: statuses, headers, refusals and warnings."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from guards.principal import Tier
from streaming.errors import TranslationFailed
from tests.app.support import Fakes, admin, client, rest, running
from tests.streaming.harness import s16, speech

TEXT = {"text": "Hello.", "source": "en", "target": "pt"}


def tiers(tmp_path: Path, **limits: int) -> Path:
    """A file in which the free tier has these limits."""
    path = tmp_path / "tiers.toml"
    path.write_text("[free]\n" + "".join(f"{name} = {value}\n" for name, value in limits.items()))
    return path


async def test_a_limited_response_says_how_the_key_stands(tmp_path: Path) -> None:
    async with client(tmp_path, Fakes(tier=Tier.FREE)) as (http, _):
        response = await http.post("/translate/text", json=TEXT)
        told = response.headers
        policy = '"minute";q=10;w=60, "text";q=10;w=60, "day";q=1000;w=86400'
        assert told["ratelimit-policy"] == policy
        assert told["ratelimit"].startswith('"minute";r=9;t=')
        assert (told["ratelimit-limit"], told["ratelimit-remaining"]) == ("10", "9")
        assert 0 < int(told["ratelimit-reset"]) <= 60
        # Errors of what was admitted are limited responses as well; what is open to all is not.
        wrong = await http.post("/translate/text", json={"text": 7})
        assert (wrong.status_code, wrong.headers["ratelimit-remaining"]) == (400, "8")
        assert "ratelimit" not in (await http.get("/health/simple")).headers


async def test_beyond_the_limit_is_429_with_retry_after(tmp_path: Path) -> None:
    async with client(tmp_path, Fakes(tier=Tier.FREE)) as (http, fakes):
        statuses = [(await http.post("/translate/text", json=TEXT)).status_code for _ in range(11)]
        assert statuses == [200] * 10 + [429]
        refused = await http.post("/translate/text", json=TEXT)
        body = refused.json()
        assert refused.headers["content-type"] == "application/problem+json"
        assert (body["code"], body["retryable"], body["window"]) == ("rate_limited", True, "minute")
        assert 1 <= int(refused.headers["retry-after"]) <= 120
        assert refused.headers["ratelimit-remaining"] == "0"
        assert (await http.get("/v1/usage")).status_code == 429
        # Another key is another matter.
        assert (await http.get("/v1/usage", headers=admin())).status_code == 200
        await fakes.services.limiter.reset(fakes.record.key_id)
        assert (await http.post("/translate/text", json=TEXT)).status_code == 200


async def test_classes_of_requests_have_limits_of_their_own(tmp_path: Path) -> None:
    path = tiers(tmp_path, text_per_minute=2)
    async with client(tmp_path, Fakes(tier=Tier.FREE), tiers_file=path) as (http, _):
        for _ in range(2):
            assert (await http.post("/translate/text", json=TEXT)).status_code == 200
        refused = await http.post("/translate/text", json=TEXT)
        assert (refused.status_code, refused.json()["window"]) == (429, "text")
        assert (await http.get("/v1/usage")).status_code == 200


async def test_a_key_has_limits_of_its_own(tmp_path: Path) -> None:
    async with client(tmp_path, Fakes(tier=Tier.FREE)) as (http, fakes):
        key, _ = await fakes.services.keyring.issue(
            user_id="rui", tier=Tier.FREE, limits={"requests_per_day": 1}
        )
        mine = {"Authorization": f"Bearer {key}"}
        assert (await http.post("/translate/text", json=TEXT, headers=mine)).status_code == 200
        refused = await http.post("/translate/text", json=TEXT, headers=mine)
        assert (refused.status_code, refused.json()["window"]) == (429, "day")
        assert int(refused.headers["retry-after"]) > 3600


async def test_limits_shrink_under_load(tmp_path: Path) -> None:
    async with client(tmp_path, Fakes(tier=Tier.FREE), adaptive_limits=False) as (http, fakes):
        fakes.services.limiter.load.level = 3
        refused = await http.post("/translate/text", json=TEXT)
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
        assert (await http.post("/translate/text", json=TEXT, headers=admin())).status_code == 200


async def test_characters_end_with_the_day(tmp_path: Path) -> None:
    path = tiers(tmp_path, characters_per_day=10)
    async with client(tmp_path, Fakes(tier=Tier.FREE), tiers_file=path) as (http, fakes):
        assert (await http.post("/translate/text", json=TEXT)).status_code == 200
        refused = await http.post("/translate/text", json=TEXT)
        assert (refused.status_code, refused.json()["code"]) == (429, "quota_exceeded")
        assert 0 < int(refused.headers["retry-after"]) <= 86_400
        # What fails is not paid for.
        fakes.translator.fail_next(TranslationFailed("broken"))
        four = TEXT | {"text": "four"}
        assert (await http.post("/translate/text", json=four)).status_code == 503
        assert (await http.post("/translate/text", json=four)).status_code == 200


def connected(address: str, key: str) -> connect:
    headers = {"Authorization": f"Bearer {key}"}
    return connect(f"ws://{address}/v1/stream", additional_headers=headers)


async def begin(stream: ClientConnection, **fields: Any) -> None:
    await stream.send(json.dumps({"type": "start", "source": "en", **fields}))
    assert json.loads(await stream.recv())["type"] == "ready"


async def refusal(address: str, key: str) -> tuple[int, dict[str, Any], Any]:
    with pytest.raises(InvalidStatus) as caught:
        async with connected(address, key):
            pass
    response = caught.value.response
    assert response.headers["content-type"] == "application/problem+json"
    assert response.body is not None
    return response.status_code, json.loads(response.body), response.headers


async def test_a_handshake_too_many_is_a_429_with_a_body(tmp_path: Path) -> None:
    path = tiers(tmp_path, stream_per_minute=1)
    async with running(tmp_path, Fakes(tier=Tier.FREE), tiers_file=path) as (address, fakes, _):
        async with connected(address, fakes.key):
            pass
        status, body, headers = await refusal(address, fakes.key)
        assert (status, body["code"], body["window"]) == (429, "rate_limited", "stream")
        assert int(headers["retry-after"]) >= 1
        assert '"stream";r=0;' in headers["ratelimit"]


async def test_streams_at_once(tmp_path: Path) -> None:
    async with (
        running(tmp_path, Fakes(tier=Tier.FREE)) as (address, fakes, _),
        connected(address, fakes.key) as stream,
    ):
        await begin(stream)
        status, body, headers = await refusal(address, fakes.key)
        assert (status, body["code"], body["limit"]) == (429, "too_many_streams", 1)
        assert headers["retry-after"] == "5"
        await stream.send(json.dumps({"type": "stop"}))
        # Who has been told of the end may begin another.
        assert json.loads(await stream.recv())["type"] == "done"
        async with connected(address, fakes.key) as another:
            await begin(another)


async def test_usage_is_booked_exactly_when_the_end_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, Fakes(tier=Tier.FREE)) as (address, fakes, _):
        audio = s16(speech("alpha bravo"))
        async with connected(address, fakes.key) as stream:
            await begin(stream)
            await stream.send(audio)
            await stream.send(json.dumps({"type": "stop"}))
            while (event := json.loads(await stream.recv()))["type"] != "done":
                pass
            amount = await fakes.services.metering.usage.total(
                fakes.record.key_id, fakes.record.created_at.date()
            )
            assert amount.audio_ms == pytest.approx(len(audio) / 32, abs=1)
            assert event["usage"]["audio_seconds"] == pytest.approx(
                amount.audio_ms / 1000, abs=0.002
            )


async def test_at_the_quotas_end_what_was_said_gets_its_final(tmp_path: Path) -> None:
    path = tiers(tmp_path, audio_minutes_per_day=1)
    async with running(tmp_path, Fakes(tier=Tier.FREE), tiers_file=path) as (address, fakes, _):
        async with connected(address, fakes.key) as stream:
            await begin(stream)
            audio = s16(speech(*["alpha bravo charlie delta"] * 40))
            assert len(audio) / 32_000 > 65
            for at in range(0, len(audio), 3_200):
                await stream.send(audio[at : at + 3_200])
            events = await rest(stream)
        *_, before, last = events
        assert (last["type"], last["code"], last["fatal"]) == ("error", "quota_exceeded", True)
        assert before["type"] in ("final", "translation", "speech_ended")
        assert stream.close_code == 4429
        finals = [event for event in events if event["type"] == "final"]
        # Everything up to the end was said, the sentence that was cut as well.
        assert 59 < finals[-1]["end"] <= 60.7
        warnings = [event for event in events if event["type"] == "warning"]
        assert [event["code"] for event in warnings] == ["quota_low"]
        status, body, _ = await refusal(address, fakes.key)
        assert (status, body["code"]) == (429, "quota_exceeded")
        used = await fakes.services.metering.usage.report(
            fakes.record.created_at.date(), fakes.record.created_at.date()
        )
        assert 60_000 <= used[0].amount.audio_ms <= 60_700


async def test_a_stream_goes_on_while_its_usage_cannot_be_written(tmp_path: Path) -> None:
    async with running(tmp_path, Fakes(tier=Tier.FREE)) as (address, fakes, _):
        audio = s16(speech(*["alpha bravo"] * 5))
        with contextlib.closing(sqlite3.connect(fakes.services.settings.database)) as file:
            async with connected(address, fakes.key) as stream:
                await begin(stream)
                await stream.send(audio)
                file.execute("ALTER TABLE usage RENAME TO elsewhere")
                await stream.send(audio)
                await stream.send(json.dumps({"type": "stop"}))
                events = await rest(stream)
            file.execute("ALTER TABLE elsewhere RENAME TO usage")
        assert events[-1]["type"] == "done"
        assert [event["type"] for event in events].count("final") == 10
        await fakes.services.metering.settle()
        total = await fakes.services.metering.usage.total(
            fakes.record.key_id, fakes.record.created_at.date()
        )
        assert total.audio_ms == pytest.approx(2 * len(audio) / 32, abs=1)


async def test_a_stream_that_lasts_too_long_is_ended(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        # No administrator could set this: it is the shortest way to a long time.
        key, _ = await fakes.services.keyring.issue(
            user_id="rui", tier=Tier.FREE, limits={"session_minutes": 0}
        )
        async with connected(address, key) as stream:
            events = await rest(stream)
        assert [event["code"] for event in events] == ["session_too_long"]
        assert stream.close_code == 4429


async def test_messages_that_come_too_fast_are_read_later_and_none_is_lost(tmp_path: Path) -> None:
    path = tiers(tmp_path, messages_per_second=200)
    async with (
        running(tmp_path, Fakes(tier=Tier.FREE), tiers_file=path) as (address, fakes, _),
        connected(address, fakes.key) as stream,
    ):
        await begin(stream)
        audio = s16(speech("alpha bravo"))
        frame = len(audio) // 2 // 450 * 2
        for at in range(0, len(audio), frame):
            await stream.send(audio[at : at + frame])
        await stream.send(json.dumps({"type": "stop"}))
        events = await rest(stream)
        assert [event["code"] for event in events if event["type"] == "warning"] == ["throttled"]
        assert [event["text"] for event in events if event["type"] == "final"] == ["alpha bravo"]
        assert events[-1]["audio_seconds"] == pytest.approx(len(audio) / 32_000)
