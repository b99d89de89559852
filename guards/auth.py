"""Who is asking, and whether they may: Litestar guards.

Litestar runs guards before dependency injection and deep-copies them, so these are plain functions
that find what they need as ``connection.app.state.authenticator``. The principal that was
established is ``connection.user``.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import parse_qsl

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler

from guards.errors import (
    AuthenticationRequired,
    CredentialInQuery,
    Forbidden,
    InvalidCredential,
    OriginForbidden,
)
from guards.keyring import Keyring
from guards.origins import OriginPolicy
from guards.principal import ADMIN, Principal
from guards.secrets import PREFIX
from guards.tickets import Tickets

Connection = ASGIConnection[Any, Any, Any, Any]

_LASTING: Final = frozenset(
    {"key", "api_key", "apikey", "api-key", "x-api-key", "token", "access_token", "authorization"}
)
"""Names under which people put lasting credentials into addresses."""


class Authenticator:
    """Finds the credential of a connection, and who holds it."""

    def __init__(self, keyring: Keyring, tickets: Tickets, origins: OriginPolicy) -> None:
        self.keyring = keyring
        self.tickets = tickets
        self.origins = origins

    async def authenticate(self, connection: Connection) -> Principal:
        """The principal behind ``Authorization``, ``X-API-Key`` or a WebSocket's ``ticket``.

        Raises an ``AuthenticationError``, or ``CredentialInQuery``.
        """
        ticket = self._query_ticket(connection)
        key = self._header_key(connection)
        if key is not None:
            return await self.keyring.authenticate(key)
        if ticket is not None and connection.scope["type"] == ScopeType.WEBSOCKET:
            return await self._use(ticket)
        raise AuthenticationRequired(
            "Give an API key as `Authorization: Bearer <key>` or `X-API-Key: <key>`"
            + (
                ", or a ticket from POST /v1/tickets as `?ticket=`."
                if connection.scope["type"] == ScopeType.WEBSOCKET
                else "."
            )
        )

    async def _use(self, ticket: str) -> Principal:
        """Take a ticket; its key may have been revoked since it was issued."""
        principal = await self.tickets.take(ticket)
        reason = (await self.keyring.invalid([principal.key_id])).get(principal.key_id)
        if reason is not None:
            raise reason
        return principal

    @staticmethod
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

    @staticmethod
    def _query_ticket(connection: Connection) -> str | None:
        ticket = None
        query = connection.scope.get("query_string", b"").decode("latin-1")
        for name, value in parse_qsl(query, keep_blank_values=True):
            if name.lower() in _LASTING or value.startswith(PREFIX):
                raise CredentialInQuery(
                    "An API key must not stand in the address, which ends up in logs: send it as "
                    "`Authorization: Bearer <key>`, or exchange it for a ticket (POST /v1/tickets)"
                )
            if name == "ticket":
                ticket = value
        return ticket


async def authenticated(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: a valid credential, whose principal becomes ``connection.user``."""
    await _establish(connection)


async def admin_only(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: a valid credential with the admin scope."""
    principal = await _establish(connection)
    if not principal.may(ADMIN):
        raise Forbidden("This needs a key with the admin scope.", scope=ADMIN)


async def permitted_origin(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard for WebSockets: a page's origin must be ours or on the list."""
    origin = connection.headers.get("origin")
    if origin is None or connection.scope["type"] != ScopeType.WEBSOCKET:
        return
    policy = _authenticator(connection).origins
    if not policy.permits(origin, connection.headers.get("host", "")):
        raise OriginForbidden(
            "Pages of this origin may not connect; SURTITLE_ALLOWED_ORIGINS lists those that may.",
            origin=origin[:200],
        )


async def _establish(connection: Connection) -> Principal:
    known = connection.scope.get("user")
    if isinstance(known, Principal):
        return known
    principal = await _authenticator(connection).authenticate(connection)
    connection.scope["user"] = principal
    return principal


def _authenticator(connection: Connection) -> Authenticator:
    authenticator: Authenticator = connection.app.state.authenticator
    return authenticator
