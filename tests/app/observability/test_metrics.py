"""What is counted, on a real server with fake models."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from inference.fakes import silence
from streaming.errors import RecognitionFailed
from tests.app.observability.support import caption, scrape
from tests.app.support import ADMIN_KEY, admin, running, wav


async def test_a_stream_is_counted_and_timed(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        before = await scrape(address)
        assert before.value("surtitle_sessions_started_total") == 0
        events = await caption(
            address, fakes.key, "alpha bravo charlie", "Good morning.", targets=["pt"]
        )
        assert events[-1]["type"] == "done"
        seen = await scrape(address)
    finals = sum(event["type"] == "final" for event in events)
    assert finals == 2
    assert seen.value("surtitle_sessions_started_total") == 1
    assert seen.value("surtitle_sessions_ended_total", outcome="done") == 1
    assert seen.value("surtitle_sessions") == 0
    for kind in {event["type"] for event in events}:
        expected = sum(event["type"] == kind for event in events)
        assert seen.value("surtitle_events_total", type=kind) == expected
    assert seen.value("surtitle_recognition_seconds_count", work="final") >= finals
    assert seen.value("surtitle_queue_wait_seconds_count", work="partial") > 0
    assert seen.value("surtitle_translate_seconds_count", work="final") >= finals
    assert seen.value("surtitle_characters_total") >= events[-1]["usage"]["characters"]
    audio = seen.value("surtitle_audio_seconds_total", source="stream")
    assert audio == pytest.approx(events[-1]["audio_seconds"], abs=0.001)
    assert seen.value("surtitle_stream_received_bytes_total") == pytest.approx(audio * 32_000)
    assert seen.value("surtitle_stream_sent_bytes_total") > 100 * finals
    assert seen.value("surtitle_translation_lag_seconds_count") == finals


async def test_what_failed_is_counted_by_its_code(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        fakes.recognizer.fail_next(RecognitionFailed("once"))
        await caption(address, fakes.key, "Hello.", interim=False)
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{address}/v1/stream").__aenter__()
        async with connect(f"ws://{address}/v1/stream", additional_headers=admin()) as socket:
            await socket.send(json.dumps({"type": "nothing"}))
            assert json.loads(await socket.recv())["code"] == "unknown_type"
        seen = await scrape(address)
    assert seen.value("surtitle_model_errors_total", model="speech") == 1
    assert seen.value("surtitle_handshakes_total", outcome="accepted") == 2
    assert seen.value("surtitle_handshakes_total", outcome="authentication_required") == 1
    refused = {"where": "handshake", "code": "authentication_required"}
    assert seen.value("surtitle_errors_total", **refused) == 1
    assert seen.value("surtitle_errors_total", where="stream", code="unknown_type") == 1
    assert seen.value("surtitle_sessions_ended_total", outcome="disconnected") == 1


async def test_requests_are_counted_by_their_routes(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as (address, _, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        for path in ("/nothing/of/this", "/other-nothing"):
            assert (await http.get(path)).status_code == 404
        assert (await http.get("/auth/api-key/key_none", headers=admin())).status_code == 404
        assert (await http.request("PROPFIND", "/languages")).status_code in (404, 405, 501)
        for _ in range(2):
            answer = await http.post(
                "/transcribe/audio", headers=admin(), files={"file": wav(silence(0.5))}
            )
            assert answer.status_code == 200
        seen = await scrape(address)
    labels = {"method": "GET", "route": "unmatched", "status": "404"}
    assert seen.value("surtitle_http_requests_total", **labels) == 2
    assert seen.value("surtitle_http_requests_total", route="/auth/api-key/{key_id}") == 1
    assert seen.value("surtitle_http_requests_total", method="other") <= 1
    assert seen.value("surtitle_http_request_seconds_count", route="/transcribe/audio") == 2
    assert seen.value("surtitle_errors_total", where="http", code="not_found") == 2
    assert seen.value("surtitle_cache_hits_total", cache="transcripts") == 1
    assert seen.value("surtitle_cache_misses_total", cache="transcripts") == 1
    assert "nothing/of" not in seen.text
    assert "key_none" not in seen.text
    assert "PROPFIND" not in seen.text


async def test_nothing_of_anybody_is_in_a_label(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        events = await caption(
            address, fakes.key, "alpha bravo", source="en", vocabulary=["Quetzalcoatl"]
        )
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            await http.get("/languages", headers={"X-Request-ID": "my-own-request-id"})
        seen = await scrape(address)
    for private in (
        fakes.key,
        fakes.record.key_id,
        fakes.record.user_id,
        ADMIN_KEY,
        events[0]["session"],
        "127.0.0.1",
        "my-own-request-id",
        "alpha",
        "Quetzalcoatl",
        str(tmp_path),
    ):
        assert f'"{private}' not in seen.text, private
