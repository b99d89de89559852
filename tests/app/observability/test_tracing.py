"""Traces, made by the real server and caught where they would be sent."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from app.observability.tracing import Tracing, wanted
from tests.app.observability.support import caption, logged_as_json
from tests.app.support import ADMIN_KEY, Fakes, admin, running

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def parent(sampled: bool = True) -> dict[str, str]:
    return {"traceparent": f"00-{TRACE}-{PARENT}-{'01' if sampled else '00'}"}


def traced(fakes: Fakes) -> InMemorySpanExporter:
    """Have the running server's spans caught."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(1.0)))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    fakes.services.tracing = Tracing(provider, provider.shutdown)
    return exporter


def by_name(exporter: InMemorySpanExporter) -> dict[str, list[ReadableSpan]]:
    found: dict[str, list[ReadableSpan]] = {}
    for span in exporter.get_finished_spans():
        found.setdefault(span.name, []).append(span)
    return found


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None
    return int(span.parent.span_id)


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


async def test_a_stream_from_handshake_to_translations(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        exporter = traced(fakes)
        events = await caption(
            address,
            fakes.key,
            "alpha bravo charlie",
            "Good morning.",
            targets=["pt"],
            headers=parent(),
        )
    spans = by_name(exporter)
    (stream,) = spans["GET /v1/stream"]
    assert stream.context is not None
    assert stream.context.trace_id == int(TRACE, 16)
    assert parent_of(stream) == int(PARENT, 16)
    assert stream.attributes is not None
    assert stream.attributes["http.response.status_code"] == 101
    assert stream.attributes["surtitle.session"] == events[0]["session"]
    (handshake,) = spans["handshake"]
    assert parent_of(handshake) == id_of(stream)
    assert handshake.end_time is not None
    assert stream.end_time is not None
    assert handshake.end_time < stream.end_time

    finals = [event for event in events if event["type"] == "final"]
    assert len(spans["utterance"]) == len(finals) == 2
    for utterance in spans["utterance"]:
        assert parent_of(utterance) == id_of(stream)
        assert utterance.attributes is not None
        assert utterance.attributes["surtitle.language"] == "en"
        for stage in ("endpoint", "queue", "encode", "decode", "send", "translate"):
            (span,) = [one for one in spans[stage] if parent_of(one) == id_of(utterance)]
            assert span.start_time is not None
            assert span.end_time is not None
            assert span.start_time <= span.end_time
        assert utterance.start_time is not None
        assert utterance.end_time is not None
        assert utterance.start_time < utterance.end_time
    assert {one.attributes["surtitle.segment"] for one in spans["utterance"] if one.attributes} == {
        final["segment"] for final in finals
    }


async def test_nothing_that_was_said_or_is_secret_is_in_a_span(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        exporter = traced(fakes)
        await caption(address, fakes.key, "alpha bravo", targets=["pt"])
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            ticket = (await http.post("/v1/tickets", headers=admin())).json()["ticket"]
            body = {"text": "bravo delta", "source": "en", "target": "pt"}
            await http.post("/translate/text", headers=admin(), json=body)
        async with connect(f"ws://{address}/v1/stream?ticket={ticket}"):
            pass
    everything = "".join(span.to_json() for span in exporter.get_finished_spans())
    assert "POST /translate/text" in everything
    for private in (fakes.key, ADMIN_KEY, ticket, "bravo", "BRAVO", "127.0.0.1", "ana"):
        assert private not in everything, private


async def test_a_refusal_says_why(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as (address, fakes, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        exporter = traced(fakes)
        with pytest.raises(InvalidStatus):
            await connect(f"ws://{address}/v1/stream").__aenter__()
        fakes.services.ready = False
        body = {"text": "alpha", "source": "en", "target": "pt"}
        assert (await http.post("/translate/text", headers=admin(), json=body)).status_code == 503
        assert (await http.get("/nothing/here")).status_code == 404
    spans = by_name(exporter)
    (refused,) = spans["GET /v1/stream"]
    assert refused.attributes is not None
    assert refused.attributes["http.response.status_code"] == 401
    assert refused.attributes["error.type"] == "authentication_required"
    assert refused.status.is_ok
    (starting,) = spans["POST /translate/text"]
    assert not starting.status.is_ok
    (unknown,) = spans["GET"]
    assert unknown.attributes is not None
    assert unknown.attributes["http.response.status_code"] == 404


async def test_what_is_not_sampled_is_not_watched(tmp_path: Path) -> None:
    async with running(tmp_path) as (address, fakes, _):
        exporter = traced(fakes)
        events = await caption(address, fakes.key, "alpha", headers=parent(sampled=False))
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            for path in ("/health/simple", "/metrics", "/health"):
                await http.get(path, headers=admin())
    assert events[-1]["type"] == "done"
    assert exporter.get_finished_spans() == ()


async def test_the_log_names_the_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged_as_json():
        async with running(tmp_path) as (address, fakes, _):
            traced(fakes)
            headers = {**parent(), "X-Request-ID": "asked-by-me"}
            events = await caption(address, fakes.key, "alpha", headers=headers)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[:1] == "{"]
    about = {
        line["event"]: line
        for line in lines
        if line["event"] in ("session started", "session ended", "websocket")
    }
    assert len(about) == 3
    assert {line["level"] for line in lines} == {"info"}
    for line in about.values():
        assert line["trace_id"] == TRACE
        assert line["request_id"] == "asked-by-me"
        assert line["span_id"] not in ("", PARENT)
    assert about["session ended"]["session"] == events[0]["session"]
    assert about["session ended"]["outcome"] == "done"
    assert about["websocket"]["key_id"] == fakes.record.key_id
    assert about["websocket"]["route"] == "/v1/stream"
    assert fakes.key not in json.dumps(lines)


@pytest.mark.parametrize(
    ("environ", "on"),
    [
        ({}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://a"}, False),
    ],
)
def test_when_traces_are_wanted(environ: dict[str, str], on: bool) -> None:
    assert wanted(environ) is on
    assert not Tracing.from_environment({}).on
