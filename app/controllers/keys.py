"""API keys, for administrators, and tickets, for everybody with a key."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

from litestar import Request, Response, delete, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath
from msgspec import Meta, Struct

from app.controllers.documentation import SECURITY, problems
from app.services import services_of
from guards.auth import admin_only, authenticated
from guards.errors import ExpiryPassed, ScopeUnknown
from guards.keys import KeyRecord
from guards.principal import SCOPES, Principal, Tier

_NO_STORE: Final = {"Cache-Control": "no-store"}


class NewKey(Struct):
    """``user_id`` is who the key belongs to, and who pays; a user may have many keys."""

    user_id: Annotated[str, Meta(min_length=1, max_length=128)]
    tier: Tier
    name: Annotated[str, Meta(max_length=128)] = ""
    expires_at: Annotated[datetime, Meta(tz=True)] | None = None
    scopes: Annotated[list[str], Meta(max_length=16)] = []


class KeyInfo(Struct):
    """A key without its secret. ``hint`` is the secret's end, to recognise it by."""

    key_id: str
    user_id: str
    tier: Tier
    name: str
    scopes: list[str]
    hint: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class IssuedKey(KeyInfo):
    """A new key with its secret, which is shown this once and kept nowhere."""

    api_key: str = ""


class TicketInfo(Struct):
    """Good for one WebSocket handshake, within ``expires_in`` seconds."""

    ticket: str
    expires_in: int


@post(
    "/auth/api-key",
    guards=[admin_only],
    summary="Issue an API key",
    tags=["keys"],
    operation_id="issueKey",
    security=SECURITY,
    responses=problems(400, 401, 403),
)
async def issue_key(
    request: Request[Principal, Any, Any],
    data: Annotated[
        NewKey,
        Body(examples=[Example(value={"user_id": "ana", "tier": "pro", "name": "conference"})]),
    ],
) -> Response[IssuedKey]:
    keyring = services_of(request).keyring
    unknown = sorted(set(data.scopes) - SCOPES)
    if unknown:
        raise ScopeUnknown("There are no such scopes.", unknown=unknown, known=sorted(SCOPES))
    if data.expires_at is not None and data.expires_at <= datetime.now(data.expires_at.tzinfo):
        raise ExpiryPassed("`expires_at` is in the past.")
    key, record = await keyring.issue(
        user_id=data.user_id,
        tier=data.tier,
        name=data.name,
        scopes=data.scopes,
        expires_at=data.expires_at,
    )
    return Response(IssuedKey(**_members(record), api_key=key), headers=_NO_STORE)


@get(
    "/auth/api-key",
    guards=[admin_only],
    summary="List API keys",
    tags=["keys"],
    operation_id="listKeys",
    security=SECURITY,
    responses=problems(401, 403),
)
async def list_keys(request: Request[Principal, Any, Any]) -> list[KeyInfo]:
    return [
        KeyInfo(**_members(record)) for record in await services_of(request).keyring.store.listing()
    ]


@delete(
    "/auth/api-key/{key_id:str}",
    guards=[admin_only],
    summary="Revoke an API key",
    description="Running sessions of the key end within 5 seconds (`key_revoked`).",
    tags=["keys"],
    operation_id="revokeKey",
    security=SECURITY,
    responses=problems(401, 403, 404),
)
async def revoke_key(request: Request[Principal, Any, Any], key_id: FromPath[str]) -> None:
    await services_of(request).keyring.revoke(key_id)


@post(
    "/v1/tickets",
    guards=[authenticated],
    summary="Exchange a key for a one-use ticket",
    description="Browsers can't put headers on a WebSocket: connect to `/v1/stream?ticket=…`.",
    tags=["keys"],
    operation_id="issueTicket",
    security=SECURITY,
    responses=problems(401, 429),
)
async def issue_ticket(request: Request[Principal, Any, Any]) -> Response[TicketInfo]:
    tickets = services_of(request).tickets
    ticket = await tickets.issue(request.user)
    return Response(TicketInfo(ticket, int(tickets.lifetime)), headers=_NO_STORE)


def _members(record: KeyRecord) -> dict[str, Any]:
    return {
        "key_id": record.key_id,
        "user_id": record.user_id,
        "tier": record.tier,
        "name": record.name,
        "scopes": sorted(record.scopes),
        "hint": record.hint,
        "created_at": record.created_at,
        "expires_at": record.expires_at,
        "revoked_at": record.revoked_at,
        "last_used_at": record.last_used_at,
    }
