"""Where a request or a handshake carries its credential.

Headers are for programs. A browser can't put headers on a WebSocket: its page exchanges the key for
a ticket, or offers the key among the subprotocols. A lasting credential in an address is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType

from guards.errors import AuthenticationRequired, CredentialInQuery, InvalidCredential
from guards.secrets import PREFIX
from guards.tokens import looks_like_token

Connection = ASGIConnection[Any, Any, Any, Any]

SUBPROTOCOL: Final = "surtitle.v1"
"""What the server answers to a client that offers subprotocols, if it offers this one."""

BEARER_SUBPROTOCOL: Final = "surtitle.bearer."
"""What stands before a key or token that is offered as a subprotocol. It is never answered."""

_LASTING: Final = frozenset(
    {"key", "api_key", "apikey", "api-key", "x-api-key", "token", "access_token", "authorization"}
)
"""Names under which people put lasting credentials into addresses."""


@dataclass(frozen=True, slots=True)
class Given:
    """A credential as it came, not yet checked. Never shown: it is a secret."""

    text: str
    is_ticket: bool = False

    def __repr__(self) -> str:
        return f"Given({'ticket' if self.is_ticket else 'key or token'})"


def presented(connection: Connection) -> Given:
    """The credential a connection presents.

    ``Authorization: Bearer`` goes before ``X-API-Key``, and headers before what is for WebSockets
    only: a subprotocol, and the ``ticket`` of the query.

    Raises ``AuthenticationRequired``, ``InvalidCredential``, ``CredentialInQuery``.
    """
    ticket = _query_ticket(connection)
    key = _header_key(connection)
    if key is not None:
        return Given(key)
    if connection.scope["type"] != ScopeType.WEBSOCKET:
        raise AuthenticationRequired(
            "Give an API key or token as `Authorization: Bearer <key>` or `X-API-Key: <key>`."
        )
    for offer in offered_subprotocols(connection):
        if offer.startswith(BEARER_SUBPROTOCOL):
            return Given(offer.removeprefix(BEARER_SUBPROTOCOL))
    if ticket is not None:
        return Given(ticket, is_ticket=True)
    raise AuthenticationRequired(
        "Give an API key or token as `Authorization: Bearer <key>`, a ticket from POST "
        f"/v1/tickets as `?ticket=`, or the subprotocol `{BEARER_SUBPROTOCOL}<key>`."
    )


def offered_subprotocols(connection: Connection) -> list[str]:
    """The subprotocols that a WebSocket's client offers, in its order."""
    scope: Any = connection.scope  # as a request's it has none
    return list(scope.get("subprotocols", ()))


def agreed_subprotocol(connection: Connection) -> str | None:
    """What to answer to a client that offers subprotocols: ours or none, never its credential."""
    return SUBPROTOCOL if SUBPROTOCOL in offered_subprotocols(connection) else None


def address_of(connection: Connection) -> str:
    """The client's address, as the server or a trusted proxy saw it."""
    client = connection.scope.get("client")
    return str(client[0]) if client else ""


def _header_key(connection: Connection) -> str | None:
    authorization = connection.headers.get("authorization", "").strip()
    scheme, _, credential = authorization.partition(" ")
    if scheme.lower() == "bearer":
        if not credential.strip():
            raise InvalidCredential("`Authorization: Bearer` lacks its key.")
        return credential.strip()
    key = connection.headers.get("x-api-key", "").strip()
    if key:
        return key
    if authorization:
        raise InvalidCredential("This Authorization scheme is not supported; use Bearer.")
    return None


def _query_ticket(connection: Connection) -> str | None:
    ticket = None
    query = connection.scope.get("query_string", b"").decode("latin-1")
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name.lower() in _LASTING or value.startswith(PREFIX) or looks_like_token(value):
            raise CredentialInQuery(
                "A key or token must not stand in the address, which ends up in logs: send it as "
                "`Authorization: Bearer <key>`, or exchange it for a ticket (POST /v1/tickets)"
            )
        if name == "ticket":
            ticket = value
    return ticket
