"""The circuit breakers of this process, for administrators."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from litestar import Request, get, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import Meta, Struct

from app.audit import audited
from app.controllers.documentation import answered, problems
from app.services import services_of
from guards.errors import BreakerUnknown
from guards.principal import Principal
from streaming.breaker import BreakerState, BreakerStatus


class BreakerInfo(Struct):
    """A service that calls leave this process for.

    ``closed``: they are made. ``open``: they are not, until ``next_try``. ``half_open``: one is
    being made, and decides. ``failures`` are those in a row; ``opened`` and ``refused`` count since
    the start.
    """

    name: str
    state: BreakerState
    failures: int
    since: datetime
    next_try: datetime | None
    opened: int
    refused: int


class BreakerReset(Struct):
    """``name``: one service's; without it all are closed."""

    name: Annotated[str, Meta(min_length=1, max_length=64)] | None = None


class BreakersReset(Struct):
    """Services whose breaker was not closed, and is."""

    reset: list[str]


_BREAKER: Final = {
    "name": "translator:libre",
    "state": "open",
    "failures": 5,
    "since": "2026-01-02T03:04:05Z",
    "next_try": "2026-01-02T03:04:15Z",
    "opened": 1,
    "refused": 42,
}


@get(
    "/circuit-breakers",
    summary="List circuit breakers",
    operation_id="listCircuitBreakers",
    responses=answered(list[BreakerInfo], "Those of this process.", [_BREAKER])
    | problems(401, 403, 429),
)
async def list_breakers(request: Request[Principal, Any, Any]) -> list[BreakerInfo]:
    now = datetime.now(UTC)
    return [_info(status, now) for status in services_of(request).breakers.states]


@post(
    "/circuit-breaker/reset",
    status_code=200,
    summary="Close circuit breakers",
    description="The next call to the service is made, whatever its breaker has seen.",
    operation_id="resetCircuitBreaker",
    responses=answered(BreakersReset, "Done.", {"reset": ["translator:libre"]})
    | problems(400, 401, 403, 404, 429),
)
async def reset_breakers(
    request: Request[Principal, Any, Any],
    data: Annotated[BreakerReset, Body(examples=[Example(value={"name": "translator:libre"})])],
) -> BreakersReset:
    breakers = services_of(request).breakers
    known = data.name in {breaker.name for breaker in breakers}
    # A name that is none may be anything, a secret too: it is not written down.
    async with audited(request, "breaker.reset", service=data.name if known else None):
        if data.name is not None and not known:
            raise BreakerUnknown("No circuit breaker has this name.")
        return BreakersReset(breakers.reset(data.name))


def _info(status: BreakerStatus, now: datetime) -> BreakerInfo:
    waits = status.retry_after
    return BreakerInfo(
        name=status.name,
        state=status.state,
        failures=status.failures,
        since=now - timedelta(seconds=status.age),
        next_try=None if waits is None else now + timedelta(seconds=waits),
        opened=status.opened,
        refused=status.refused,
    )
