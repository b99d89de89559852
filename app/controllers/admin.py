"""Running the server: sessions, caches, limits, the log, the drain, and who did what."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast

from litestar import Request, Router, delete, get, post, put
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter
from msgspec import Meta, Struct

from app.audit import audited
from app.controllers.breakers import list_breakers, reset_breakers
from app.controllers.caches import clear_cache, show_caches
from app.controllers.documentation import LIMITED, SECURITY, answered, problems
from app.logging import current_level, set_level
from app.services import services_of
from app.sessions import LiveSession
from guards.admission import limited
from guards.auth import admin_only
from guards.errors import SessionClosed, SessionUnknown
from guards.principal import Principal, Tier
from guards.tiers import Endpoint

Level = Literal["debug", "info", "warning", "error"]
Admin = Request[Principal, Any, Any]

_MAX_ID = 2**53


class SessionInfo(Struct):
    """A running stream of this process. ``behind_seconds`` of its audio wait to be listened to."""

    id: str
    user_id: str
    key_id: str
    tier: Tier
    address: str
    started_at: datetime
    connected: bool
    """Whether the client is there. One that was lost may come back for a while."""
    ending: bool
    audio_seconds: float
    behind_seconds: float
    finals: int
    characters: int


class LogLevel(Struct):
    """What is logged from now on."""

    level: Level


class NewLogLevel(Struct):
    level: Level


class Draining(Struct):
    """``sessions`` still run, and get their finals."""

    draining: bool
    sessions: int


class LimitsReset(Struct):
    """``key_id``: whose requests are forgotten. ``address``: whose wrong credentials are."""

    key_id: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    address: Annotated[str, Meta(pattern=r"^[0-9A-Fa-f.:]{2,45}$")] | None = None


class AuditRecord(Struct):
    """``outcome`` is ``done``, or the code of the error it ended with."""

    id: int
    at: datetime
    key_id: str
    user_id: str
    action: str
    target: str
    outcome: str
    details: Mapping[str, Any]
    request_id: str
    address: str


class AuditPage(Struct):
    """Newest first. ``next`` is the ``before`` of the page that follows, or null."""

    entries: list[AuditRecord]
    next: int | None


_SESSION: Final = {
    "id": "s_5f0c2b1e9a7d4c36",
    "user_id": "ana",
    "key_id": "key_5f2c8a1b9d3e7046",
    "tier": "pro",
    "address": "192.0.2.7",
    "started_at": "2026-01-02T03:04:05Z",
    "connected": True,
    "ending": False,
    "audio_seconds": 754.2,
    "behind_seconds": 0.3,
    "finals": 121,
    "characters": 9876,
}
_ENTRY: Final = {
    "id": 4711,
    "at": "2026-01-02T03:04:05Z",
    "key_id": "key_0a1b2c3d4e5f6071",
    "user_id": "admin",
    "action": "key.revoke",
    "target": "key_5f2c8a1b9d3e7046",
    "outcome": "done",
    "details": {},
    "request_id": "8f14e45fceea167a",
    "address": "192.0.2.1",
}


@get(
    "/sessions",
    summary="List running streams",
    operation_id="listSessions",
    responses=answered(list[SessionInfo], "Those of this process.", [_SESSION])
    | problems(401, 403, 429),
)
async def list_sessions(request: Admin) -> list[SessionInfo]:
    return [_info(session) for session in services_of(request).sessions]


@delete(
    "/sessions/{session_id:str}",
    summary="End a running stream",
    description="It gets the finals of what was said, then the error `session_closed`.",
    operation_id="endSession",
    responses=problems(401, 403, 404, 429),
)
async def end_session(request: Admin, session_id: FromPath[str]) -> None:
    async with audited(request, "session.end", session_id):
        reason = SessionClosed("An administrator ended the session.")
        if not services_of(request).sessions.end(session_id, reason):
            raise SessionUnknown("No session of this id runs here.")


@post(
    "/limits/reset",
    status_code=204,
    summary="Forget what counts against a limit",
    operation_id="resetLimits",
    responses=problems(400, 401, 403, 429),
)
async def reset_limits(
    request: Admin,
    data: Annotated[LimitsReset, Body(examples=[Example(value={"key_id": "key_5f2c8a1b"})])],
) -> None:
    services = services_of(request)
    async with audited(request, "limits.reset", data.key_id or "", address=data.address):
        if data.key_id is not None:
            await services.limiter.reset(data.key_id)
        if data.address is not None and services.throttle is not None:
            await services.throttle.reset(data.address)


@get(
    "/log-level",
    summary="The least severe entries that are logged",
    operation_id="logLevel",
    responses=answered(LogLevel, "In this process.", {"level": "info"}) | problems(401, 403, 429),
)
async def show_log_level() -> LogLevel:
    return LogLevel(cast("Level", current_level()))


@put(
    "/log-level",
    summary="Log more, or less",
    description="In this process, until it ends.",
    operation_id="setLogLevel",
    responses=problems(400, 401, 403, 429),
)
async def change_log_level(
    request: Admin, data: Annotated[NewLogLevel, Body(examples=[Example(value={"level": "debug"})])]
) -> LogLevel:
    async with audited(request, "log_level.set", level=data.level):
        set_level(data.level)
    return LogLevel(data.level)


@post(
    "/drain",
    status_code=202,
    summary="Take no more streams, and let the running ones finish",
    description="Readiness fails from now on, for load balancers to go elsewhere; the process "
    "goes on until it is stopped. There is no way back.",
    operation_id="drain",
    responses=answered(Draining, "Begun.", {"draining": True, "sessions": 7}, 202)
    | problems(401, 403, 429),
)
async def drain(request: Admin) -> Draining:
    services = services_of(request)
    running = len(services.sessions)
    async with audited(request, "server.drain"):
        services.begin_drain()
    return Draining(draining=True, sessions=running)


@get(
    "/audit",
    summary="What administrators did",
    operation_id="audit",
    responses=answered(AuditPage, "A page.", {"entries": [_ENTRY], "next": 4710})
    | problems(400, 401, 403, 429),
)
async def read_audit(
    request: Admin,
    before: Annotated[int | None, QueryParameter(ge=1, le=_MAX_ID)] = None,
    limit: Annotated[int, QueryParameter(ge=1, le=500)] = 100,
) -> AuditPage:
    entries = await services_of(request).audit.page(before=before, limit=limit)
    return AuditPage(
        entries=[
            AuditRecord(
                id=entry.id,
                at=entry.at,
                key_id=entry.key_id,
                user_id=entry.user_id,
                action=entry.action,
                target=entry.target,
                outcome=entry.outcome,
                details=entry.details,
                request_id=entry.request_id,
                address=entry.address,
            )
            for entry in entries
        ],
        next=entries[-1].id if len(entries) == limit else None,
    )


router: Final = Router(
    "/admin",
    guards=[admin_only, limited(Endpoint.ACCOUNT)],
    tags=["admin"],
    security=SECURITY,
    response_headers=LIMITED,
    route_handlers=[
        list_sessions,
        end_session,
        show_caches,
        clear_cache,
        list_breakers,
        reset_breakers,
        reset_limits,
        show_log_level,
        change_log_level,
        drain,
        read_audit,
    ],
)


def _info(session: LiveSession) -> SessionInfo:
    progress = session.progress()
    return SessionInfo(
        id=session.id,
        user_id=session.principal.user_id,
        key_id=session.principal.key_id,
        tier=session.principal.tier,
        address=session.address,
        started_at=session.started_at,
        connected=session.connected(),
        ending=session.ending,
        audio_seconds=progress.audio_seconds,
        behind_seconds=progress.behind_seconds,
        finals=progress.finals,
        characters=progress.characters,
    )
