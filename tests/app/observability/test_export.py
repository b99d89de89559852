"""Spans arrive at a collector."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.observability import tracing
from app.observability.tracing import Tracing


@dataclass
class Collector:
    """What takes traces by OTLP over HTTP, or answers with another status."""

    url: str = ""
    status: int = 200
    taken: list[tuple[str, ExportTraceServiceRequest]] = field(default_factory=list)


@pytest.fixture
def collector() -> Iterator[Collector]:
    here = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            here.taken.append((self.path, ExportTraceServiceRequest.FromString(body)))
            self.send_response(here.status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        here.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield here
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "surtitle"),
        ({"OTEL_SERVICE_NAME": "captions-east"}, "captions-east"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=west,zone=a"}, "west"),
    ],
)
async def test_spans_are_sent_under_the_server_s_name(
    collector: Collector,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    name: str,
) -> None:
    for variable, value in {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **variables}.items():
        monkeypatch.setenv(variable, value)
    sending = Tracing.from_environment()
    assert sending.on
    with sending.tracer.start_as_current_span("utterance"):
        pass
    await sending.close()
    ((path, sent),) = collector.taken
    assert path == "/v1/traces"
    (resource,) = sent.resource_spans
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert attributes["service.name"] == name
    assert attributes["service.version"]
    assert [span.name for span in resource.scope_spans[0].spans] == ["utterance"]


async def test_the_end_does_not_wait_for_a_collector_that_takes_nothing(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setattr(tracing, "_PATIENCE_SECONDS", 0.05)
    collector.status = 503
    sending = Tracing.from_environment()
    with sending.tracer.start_as_current_span("utterance"):
        pass
    await sending.close()
    assert len(collector.taken) == 1, "it was tried again"
