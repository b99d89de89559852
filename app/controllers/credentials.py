"""What a credential can be exchanged for: tokens and tickets."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar import Request, Response, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import Meta, Struct

from app.controllers.documentation import LIMITED, SECURITY, answered, problems
from app.services import services_of
from guards.admission import limited
from guards.auth import authenticated, may_stream
from guards.errors import ScopeUnknown
from guards.principal import SCOPES, Principal
from guards.tiers import Endpoint

_NO_STORE: Final = {"Cache-Control": "no-store"}


class TokenRequest(Struct):
    """A token may do less than its key, and be good for less long than the server's setting."""

    scopes: Annotated[list[str], Meta(max_length=16)] = []
    expires_in: Annotated[int, Meta(ge=1, le=86_400)] | None = None


class TokenInfo(Struct):
    """A JSON Web Token, good for ``expires_in`` seconds wherever a key is."""

    token: str
    expires_in: int


class TicketInfo(Struct):
    """Good for one WebSocket handshake, within ``expires_in`` seconds."""

    ticket: str
    expires_in: int


@post(
    "/auth/token",
    guards=[authenticated, limited(Endpoint.ACCOUNT)],
    summary="Exchange a key for a token",
    description="A JSON Web Token for programs that should not hold the key itself. It ends with "
    "the key; it can't be exchanged for another token. The body may be left out.",
    tags=["keys"],
    operation_id="issueToken",
    security=SECURITY,
    response_headers=LIMITED,
    responses=answered(TokenInfo, "The token.", {"token": "eyJhbGciOi….…", "expires_in": 900}, 201)
    | problems(400, 401, 403, 429),
)
async def issue_token(
    request: Request[Principal, Any, Any],
    data: Annotated[
        TokenRequest | None,
        Body(examples=[Example(value={"scopes": ["stream"], "expires_in": 600})]),
    ] = None,
) -> Response[TokenInfo]:
    wanted = data or TokenRequest()
    unknown = sorted(set(wanted.scopes) - SCOPES)
    if unknown:
        raise ScopeUnknown("There are no such scopes.", unknown=unknown, known=sorted(SCOPES))
    tokens = services_of(request).tokens
    longest = int(tokens.lifetime)
    lifetime = min(wanted.expires_in or longest, longest)
    token = tokens.issue(request.user, scopes=wanted.scopes, lifetime=lifetime)
    return Response(TokenInfo(token, lifetime), status_code=201, headers=_NO_STORE)


@post(
    "/v1/tickets",
    guards=[may_stream, limited(Endpoint.ACCOUNT)],
    summary="Exchange a key for a one-use ticket",
    description="Browsers can't put headers on a WebSocket: connect to `/v1/stream?ticket=…`.",
    tags=["keys"],
    operation_id="issueTicket",
    security=SECURITY,
    response_headers=LIMITED,
    responses=answered(TicketInfo, "The ticket.", {"ticket": "tk_…", "expires_in": 60}, 201)
    | problems(401, 403, 429),
)
async def issue_ticket(request: Request[Principal, Any, Any]) -> Response[TicketInfo]:
    tickets = services_of(request).tickets
    ticket = await tickets.issue(request.user)
    body = TicketInfo(ticket, int(tickets.lifetime))
    return Response(body, status_code=201, headers=_NO_STORE)
