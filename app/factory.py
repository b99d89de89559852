"""The application: one plugin that puts everything together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from litestar import Litestar
from litestar.config.app import AppConfig
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, YamlRenderPlugin
from litestar.openapi.spec import Components, License, SecurityScheme, Tag
from litestar.plugins import InitPlugin
from litestar.types import Scope

from app.context import RequestContext
from app.controllers import admin, audio, credentials, keys, schema, system, text, usage
from app.hangup import HangUp
from app.observability.collector import ServicesCollector
from app.observability.controller import metrics
from app.observability.tracing import Traced, Tracing, describe
from app.problems import HANDLERS, refuse
from app.services import Services, build_services
from app.settings import Settings
from app.stream import stream_handler
from guards.admission import tell
from guards.denial import HandshakeDenial, remember

_JSON_BYTES_PER_CHAR: Final = 12
"""A character outside the basic plane may be written as two escapes of six bytes."""
_BODY_SLACK: Final = 64 * 1024


class SurtitlePlugin(InitPlugin):
    """Routes, errors, documentation and lifespan.

    With ``services`` given, their owner starts and closes them; otherwise the application builds
    its own when it starts, and closes them when it ends.
    """

    def __init__(self, settings: Settings, services: Services | None = None) -> None:
        self._settings = settings
        self._services = services

    def on_app_init(self, app_config: AppConfig) -> AppConfig:
        app_config.route_handlers.extend(
            [
                system.root,
                system.demo_file,
                system.languages,
                system.health,
                system.readiness,
                metrics,
                text.translate_text,
                audio.transcribe_audio,
                usage.own_usage,
                usage.usage_report,
                keys.router,
                credentials.issue_token,
                credentials.issue_ticket,
                admin.router,
                schema.protocol_schema,
                schema.asyncapi_document,
                stream_handler,
            ]
        )
        app_config.exception_handlers.update(HANDLERS)
        app_config.after_exception.append(remember)
        app_config.before_send.append(tell)
        app_config.lifespan.append(self._lifespan)
        app_config.openapi_config = _openapi()
        if self._settings.allowed_origins:
            app_config.cors_config = CORSConfig(
                allow_origins=list(self._settings.allowed_origins),
                allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
                allow_headers=["Authorization", "Content-Type", "X-API-Key", "X-Request-ID"],
                expose_headers=[
                    "RateLimit",
                    "RateLimit-Policy",
                    "RateLimit-Limit",
                    "RateLimit-Remaining",
                    "RateLimit-Reset",
                    "Retry-After",
                    "X-Request-ID",
                    "X-Surtitle-Cache",
                ],
            )
        if self._services is not None:
            _attach(app_config.state, self._services)
        return app_config

    @asynccontextmanager
    async def _lifespan(self, app: Litestar) -> AsyncIterator[None]:
        if self._services is not None:
            self._services.start()
            yield
            return
        services = await build_services(self._settings)
        _attach(app.state, services)
        services.start()
        try:
            yield
        finally:
            await services.close()


def create_app(settings: Settings, services: Services | None = None) -> Litestar:
    """The ASGI application."""
    app = Litestar(
        plugins=[SurtitlePlugin(settings, services)],
        logging_config=None,
        request_max_body_size=settings.max_text_chars * _JSON_BYTES_PER_CHAR + _BODY_SLACK,
    )
    # Around the router and its exception handling: refused handshakes, unknown paths and
    # unexpected errors pass through here as well.
    context = RequestContext(
        HandshakeDenial(app.asgi_handler, refuse),
        hsts_seconds=settings.hsts_seconds,
        observe=partial(_observe, app.state),
    )
    app.asgi_handler = HangUp(Traced(context, partial(_tracing, app.state)))
    return app


def _observe(state: State, scope: Scope, status: int, seconds: float) -> None:
    describe(scope, status)
    services: Services | None = state.get("services")
    if services is not None:
        services.metrics.note_request(scope, status, seconds)


def _tracing(state: State) -> Tracing | None:
    services: Services | None = state.get("services")
    return services.tracing if services is not None and services.tracing.on else None


def _attach(state: State, services: Services) -> None:
    services.metrics.registry.register(ServicesCollector(services))
    state.services = services
    state.authenticator = services.authenticator
    state.limiter = services.limiter


def _openapi() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="Surtitle",
        version=system.VERSION,
        description=(
            "Live speech, translated while it is spoken. The streaming protocol of `/v1/stream` "
            "is described by `/schema/protocol.json` (JSON Schema) and `/schema/asyncapi.json`. "
            "Errors are `application/problem+json` with a stable `code`."
        ),
        license=License(name="MIT", identifier="MIT"),
        path="/schema",
        render_plugins=[
            JsonRenderPlugin(path=["/openapi.json", "/"]),
            YamlRenderPlugin(path=["/openapi.yaml", "/openapi.yml"]),
        ],
        tags=[
            Tag(name="system", description="What the server is, how it is, what it can do."),
            Tag(name="text", description="Translation of texts."),
            Tag(name="speech", description="Transcription of files."),
            Tag(name="usage", description="What was used, and what may be."),
            Tag(name="keys", description="API keys, tokens and tickets."),
            Tag(name="admin", description="Running the server."),
        ],
        components=Components(
            security_schemes={
                "bearer": SecurityScheme(
                    type="http",
                    scheme="bearer",
                    description="An API key, `sk_surtitle_…`, or a token.",
                ),
                "header": SecurityScheme(
                    type="apiKey", name="X-API-Key", security_scheme_in="header"
                ),
            }
        ),
        use_handler_docstrings=True,
    )
