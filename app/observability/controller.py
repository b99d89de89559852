"""``GET /metrics``, and who may read it."""

from __future__ import annotations

import hmac
from ipaddress import ip_address
from typing import Any, Final

from litestar import Request, Response, get
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example
from prometheus_client.exposition import choose_encoder

from app.controllers.documentation import SECURITY, problems
from app.services import services_of
from guards.auth import requires
from guards.principal import METRICS

Connection = ASGIConnection[Any, Any, Any, Any]

_FORWARDED: Final = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

_may_read: Final = requires(METRICS)


async def may_read_metrics(connection: Connection, handler: BaseRouteHandler) -> None:
    """Guard: the token of the settings, a key with the scope, or as the settings allow.

    The token goes first, because it is known without the store: metrics matter most when that is
    away.
    """
    settings = services_of(connection).settings
    if settings.metrics_access == "open":
        return
    if settings.metrics_access == "loopback" and _is_near(connection):
        return
    token = settings.metrics_token
    given = connection.headers.get("authorization", "").partition(" ")
    if (
        token is not None
        and given[0].lower() == "bearer"
        and hmac.compare_digest(given[2].strip().encode(), token.get_secret_value().encode())
    ):
        return
    await _may_read(connection, handler)


def _is_near(connection: Connection) -> bool:
    """Whether a process of this machine asks for itself, and no proxy for somebody else."""
    client = connection.client
    if client is None or any(name in connection.headers for name in _FORWARDED):
        return False
    try:
        return ip_address(client.host).is_loopback
    except ValueError:
        return False


@get(
    "/metrics",
    guards=[may_read_metrics],
    summary="Metrics for Prometheus",
    description="The text format of Prometheus, or OpenMetrics where that is asked for. Needs the "
    "token of `SURTITLE_METRICS_TOKEN` or a key with the scope `metrics` (or `admin`), unless "
    "`SURTITLE_METRICS_ACCESS` says otherwise.",
    tags=["system"],
    security=SECURITY,
    operation_id="metrics",
    media_type="text/plain",
    responses={
        200: ResponseSpec(
            str,
            generate_examples=False,
            media_type="text/plain",
            description="All metrics of this process.",
            examples=[Example(value="surtitle_sessions 3.0\n")],
        ),
        **problems(401, 403, 429, 503),
    },
)
async def metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
    registry = services_of(request).metrics.registry
    encode, media_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=media_type, headers={"Cache-Control": "no-store"})
