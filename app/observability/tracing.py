"""Traces by OpenTelemetry: from a handshake to the finals, one span for each stage of an utterance.

Off unless the standard variables ask for them: ``OTEL_TRACES_EXPORTER=otlp``, or an address in
``OTEL_EXPORTER_OTLP_ENDPOINT`` or ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``. Spans say how long and
how often, never what was said or by whom.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from app.context import method_of, refusal_code, request_id, route_of

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_UNTRACED: Final = ("/health", "/metrics", "/demo")
"""Asked for all the time, and of no interest."""
_SERVER_ERROR: Final = 500
_PATIENCE_SECONDS: Final = 2.0
"""How long the end of the server waits for the last spans to be taken."""
_INSTRUMENTATION: Final = "surtitle"

_parents: Final = TraceContextTextMapPropagator()


class Tracing:
    """Makes spans; or, without a provider, none. ``shutdown`` ends the provider, blocking."""

    def __init__(
        self,
        provider: TracerProvider | None = None,
        shutdown: Callable[[], None] = lambda: None,
    ) -> None:
        self._shutdown = shutdown
        self.on = provider is not None
        """Whether anybody wants spans."""
        self.tracer: trace.Tracer = (
            trace.NoOpTracer()
            if provider is None
            else provider.get_tracer(_INSTRUMENTATION, version("surtitle"))
        )

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Tracing:
        """As the standard variables want it. The exporter sends in a thread of its own."""
        if not wanted(environ):
            return cls()
        # Here, because it takes a while to import, and most servers run without.
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
        from opentelemetry.sdk.trace import TracerProvider as SdkProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        resource = Resource.create({SERVICE_VERSION: version("surtitle")})
        # Where the environment gives no name, the SDK makes one up.
        if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "surtitle"}))
        provider, exporter = SdkProvider(resource=resource), OTLPSpanExporter()
        provider.add_span_processor(BatchSpanProcessor(exporter))

        def shutdown() -> None:
            # A collector that is away would be tried again and again.
            patience = threading.Timer(_PATIENCE_SECONDS, exporter.shutdown)
            patience.start()
            try:
                provider.shutdown()
            finally:
                patience.cancel()

        return cls(provider, shutdown)

    async def close(self) -> None:
        """Send what is left."""
        await asyncio.to_thread(self._shutdown)


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks for traces."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").lower()
    return exporter == "otlp" or (not exporter and any(environ.get(name) for name in _ENDPOINTS))


class Traced:
    """ASGI middleware: a span for each request and connection, with the caller's as parent.

    ``tracing`` is asked each time: there may be none yet, or none at all.
    """

    def __init__(self, app: ASGIApp, tracing: Callable[[], Tracing | None]) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tracing = self._tracing()
        if tracing is None or scope["path"].startswith(_UNTRACED):
            await self._app(scope, receive, send)
            return
        tracer = tracing.tracer
        websocket = scope["type"] == ScopeType.WEBSOCKET
        with tracer.start_as_current_span(
            method_of(scope),
            context=_parents.extract(_trace_headers(scope)),
            kind=SpanKind.SERVER,
            # Messages of exceptions may quote what was sent. The log has them, masked.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            handshake = tracer.start_span("handshake") if websocket else trace.INVALID_SPAN

            async def watched(message: Message) -> None:
                await send(message)
                if message["type"] == "websocket.accept":
                    handshake.end()

            context = span.get_span_context()
            with structlog.contextvars.bound_contextvars(
                trace_id=trace.format_trace_id(context.trace_id),
                span_id=trace.format_span_id(context.span_id),
            ):
                try:
                    await self._app(scope, receive, watched)
                finally:
                    if handshake.is_recording():  # it was refused
                        handshake.end()


def describe(scope: Scope, status: int) -> None:
    """Say on the span at hand what came of its request or connection, which has ended."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    method, route = method_of(scope), route_of(scope)
    span.set_attributes(
        {
            "http.request.method": method,
            "http.response.status_code": status,
            "surtitle.request_id": request_id(scope),
        }
    )
    if route:
        span.update_name(f"{method} {route}")
        span.set_attribute("http.route", route)
    if code := refusal_code(scope):
        span.set_attribute("error.type", code)
    if status >= _SERVER_ERROR:
        span.set_status(Status(StatusCode.ERROR))


def _trace_headers(scope: Scope) -> dict[str, str]:
    return {
        name.decode(): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in (b"traceparent", b"tracestate")
    }
