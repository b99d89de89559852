"""API keys, for administrators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, Response, Router, delete, get, patch, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from app.audit import audited
from app.controllers.documentation import LIMITED, SECURITY, answered, problems
from app.services import services_of
from guards.admission import limited
from guards.auth import admin_only
from guards.errors import ExpiryPassed, LimitUnknown, ScopeUnknown
from guards.keys import KeyChanges, KeyRecord
from guards.principal import SCOPES, Principal, Tier
from guards.tiers import Endpoint, check

_NO_STORE: Final = {"Cache-Control": "no-store"}
_MAX_OVERLAP: Final = 30 * 86_400.0
_DAY: Final = 86_400.0

Line = r"^[^\x00-\x1f\x7f]*$"
"""Text without control characters."""

Name = Annotated[str, Meta(max_length=128, pattern=Line)]
Moment = Annotated[datetime, Meta(tz=True)]
Scopes = Annotated[list[str], Meta(max_length=16, examples=[sorted(SCOPES)])]
Limits = dict[Annotated[str, Meta(max_length=64)], Annotated[int, Meta(ge=0, le=10_000_000_000)]]


class NewKey(Struct):
    """``user_id`` is who the key belongs to, and who pays; a user may have many keys.

    No scopes are the usual ones: ``stream``, ``transcribe`` and ``translate``. ``limits`` take the
    place of the tier's.
    """

    user_id: Annotated[str, Meta(min_length=1, max_length=128, pattern=Line)]
    tier: Tier
    name: Name = ""
    expires_at: Moment | None = None
    scopes: Scopes = []
    limits: Limits = {}


class ChangedKey(Struct):
    """What is left out stays as it is. No scopes are the usual ones."""

    name: Name | UnsetType = UNSET
    tier: Tier | UnsetType = UNSET
    expires_at: Moment | UnsetType | None = UNSET
    scopes: Scopes | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET


class Rotation(Struct):
    """For how long the old secret stays good beside the new one."""

    overlap_seconds: Annotated[float, Meta(ge=0, le=_MAX_OVERLAP)] = _DAY


class KeyInfo(Struct):
    """A key without its secret. ``hint`` is the secret's end, to recognise it by.

    ``previous_until`` is how long the secret before the last rotation is good.
    """

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
    limits: dict[str, int]
    previous_until: datetime | None


class IssuedKey(KeyInfo):
    """A key with its new secret, which is shown this once and kept nowhere."""

    api_key: str = ""


_KEY: Final[dict[str, Any]] = {
    "key_id": "key_5f2c8a1b9d3e7046",
    "user_id": "ana",
    "tier": "pro",
    "name": "conference",
    "scopes": ["stream", "transcribe", "translate"],
    "hint": "…x7Qa",
    "created_at": "2026-01-02T03:04:05Z",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": "2026-02-03T04:05:06Z",
    "limits": {"streams": 50},
    "previous_until": None,
}
_ISSUED: Final = {
    "api_key": "sk_surtitle_…",
    **_KEY,
    "last_used_at": None,
}


@post(
    "/",
    summary="Issue an API key",
    operation_id="issueKey",
    responses=answered(IssuedKey, "The key; it is shown this once.", _ISSUED, 201)
    | problems(400, 401, 403, 429),
)
async def issue_key(
    request: Request[Principal, Any, Any],
    data: Annotated[
        NewKey,
        Body(examples=[Example(value={"user_id": "ana", "tier": "pro", "name": "conference"})]),
    ],
) -> Response[IssuedKey]:
    _check(data.scopes, data.limits, data.expires_at)
    async with audited(
        request, "key.create", user_id=data.user_id, tier=data.tier, scopes=data.scopes
    ) as action:
        key, record = await services_of(request).keyring.issue(
            user_id=data.user_id,
            tier=data.tier,
            name=data.name,
            scopes=data.scopes,
            expires_at=data.expires_at,
            limits=data.limits,
        )
        action.target = record.key_id
    return _issued(key, record)


@get(
    "/",
    summary="List API keys",
    operation_id="listKeys",
    responses=answered(list[KeyInfo], "All keys, oldest first.", [_KEY]) | problems(401, 403, 429),
)
async def list_keys(request: Request[Principal, Any, Any]) -> list[KeyInfo]:
    return [
        KeyInfo(**record.shown) for record in await services_of(request).keyring.store.listing()
    ]


@get(
    "/{key_id:str}",
    summary="Show an API key",
    operation_id="showKey",
    responses=answered(KeyInfo, "The key.", _KEY) | problems(401, 403, 404, 429),
)
async def show_key(request: Request[Principal, Any, Any], key_id: FromPath[str]) -> KeyInfo:
    return KeyInfo(**(await services_of(request).keyring.show(key_id)).shown)


@patch(
    "/{key_id:str}",
    summary="Change an API key",
    description="At once for what is new; running sessions keep their scopes and tier.",
    operation_id="changeKey",
    responses=answered(KeyInfo, "The key as it now is.", _KEY) | problems(400, 401, 403, 404, 429),
)
async def change_key(
    request: Request[Principal, Any, Any],
    key_id: FromPath[str],
    data: Annotated[
        ChangedKey,
        Body(examples=[Example(value={"tier": "enterprise", "limits": {"streams": 50}})]),
    ],
) -> KeyInfo:
    changes = _changes(data)
    async with audited(request, "key.change", key_id, **msgspec.to_builtins(data)):
        record = await services_of(request).keyring.amend(key_id, changes)
    return KeyInfo(**record.shown)


@post(
    "/{key_id:str}/rotate",
    status_code=201,
    summary="Give an API key a new secret",
    description="The old secret stays good for `overlap_seconds`. A key that has leaked is better "
    "revoked: sessions and tokens of the old secret go on after a rotation.",
    operation_id="rotateKey",
    responses=answered(IssuedKey, "The key; its secret is shown this once.", _ISSUED, 201)
    | problems(400, 401, 403, 404, 409, 429),
)
async def rotate_key(
    request: Request[Principal, Any, Any],
    key_id: FromPath[str],
    data: Annotated[
        Rotation | None, Body(examples=[Example(value={"overlap_seconds": 3600})])
    ] = None,
) -> Response[IssuedKey]:
    overlap = (data or Rotation()).overlap_seconds
    async with audited(request, "key.rotate", key_id, overlap_seconds=overlap):
        key, record = await services_of(request).keyring.rotate(key_id, overlap=overlap)
    return _issued(key, record)


@delete(
    "/{key_id:str}",
    summary="Revoke an API key",
    description="Running sessions of the key end within 5 seconds (`key_revoked`).",
    operation_id="revokeKey",
    responses=problems(401, 403, 404, 429),
)
async def revoke_key(request: Request[Principal, Any, Any], key_id: FromPath[str]) -> None:
    async with audited(request, "key.revoke", key_id):
        await services_of(request).keyring.revoke(key_id)


router: Final = Router(
    "/auth/api-key",
    guards=[admin_only, limited(Endpoint.ACCOUNT)],
    tags=["keys"],
    security=SECURITY,
    response_headers=LIMITED,
    route_handlers=[issue_key, list_keys, show_key, change_key, rotate_key, revoke_key],
)


def _changes(data: ChangedKey) -> KeyChanges:
    changes: KeyChanges = {}
    if data.name is not UNSET:
        changes["name"] = data.name
    if data.tier is not UNSET:
        changes["tier"] = data.tier
    if data.expires_at is not UNSET:
        changes["expires_at"] = data.expires_at
    if data.scopes is not UNSET:
        changes["scopes"] = frozenset(data.scopes)
    if data.limits is not UNSET:
        changes["limits"] = data.limits
    _check(changes.get("scopes", ()), changes.get("limits", {}), changes.get("expires_at"))
    return changes


def _issued(key: str, record: KeyRecord) -> Response[IssuedKey]:
    body = IssuedKey(**record.shown, api_key=key)
    return Response(body, status_code=201, headers=_NO_STORE)


def _check(scopes: Iterable[str], limits: Mapping[str, int], expires_at: datetime | None) -> None:
    """Refuse what no key can have. Raises ``ScopeUnknown``, ``LimitUnknown``, ``ExpiryPassed``."""
    unknown = sorted(set(scopes) - SCOPES)
    if unknown:
        raise ScopeUnknown("There are no such scopes.", unknown=unknown, known=sorted(SCOPES))
    try:
        check(limits)
    except ValueError as error:
        raise LimitUnknown(f"{error}.") from None
    if expires_at is not None and expires_at <= datetime.now(expires_at.tzinfo):
        raise ExpiryPassed("`expires_at` is in the past.")
