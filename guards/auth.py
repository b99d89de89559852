"""Who is asking, and whether they may: Litestar guards.

Litestar runs guards before dependency injection and deep-copies them, so these are plain functions
that find what they need as ``connection.app.state.authenticator``. The principal that was
established is ``connection.user``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler

from guards.credentials import Given, address_of, presented
from guards.errors import Forbidden, InvalidCredential, OriginForbidden
from guards.keyring import Keyring
from guards.origins import OriginPolicy
from guards.principal import ADMIN, STREAM, TRANSCRIBE, TRANSLATE, Principal
from guards.throttle import LoginThrottle
from guards.tickets import Tickets
from guards.tokens import Tokens, looks_like_token

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


class Authenticator:
    """Finds the credential of a connection, and who holds it."""

    def __init__(
        self,
        keyring: Keyring,
        tickets: Tickets,
        tokens: Tokens,
        origins: OriginPolicy,
        throttle: LoginThrottle | None = None,
    ) -> None:
        self.keyring = keyring
        self.tickets = tickets
        self.tokens = tokens
        self.origins = origins
        self.throttle = throttle

    async def authenticate(self, connection: Connection) -> Principal:
        """The principal behind the credential that a connection presents.

        Raises an ``AuthenticationError``, ``CredentialInQuery``, or ``TooManyFailures`` for an
        address that has sent too many wrong ones, whatever it sends now.
        """
        throttle, address = self.throttle, address_of(connection)
        if throttle is not None:
            await throttle.check(address)
        try:
            return await self._holder(presented(connection))
        except InvalidCredential:
            if throttle is not None:
                await throttle.failed(address)
            raise

    async def _holder(self, given: Given) -> Principal:
        if given.is_ticket:
            return await self._use(given.text)
        if looks_like_token(given.text):
            return await self.tokens.authenticate(given.text)
        return await self.keyring.authenticate(given.text)

    async def _use(self, ticket: str) -> Principal:
        """Take a ticket; its key may have been revoked since it was issued."""
        principal = await self.tickets.take(ticket)
        if not principal.issuer:
            reason = (await self.keyring.invalid([principal.key_id])).get(principal.key_id)
            if reason is not None:
                raise reason
        return principal


def requires(scope: str) -> Guard:
    """A guard: a valid credential with this scope, whose principal becomes ``connection.user``."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        principal = await _establish(connection)
        if not principal.may(scope):
            raise Forbidden(f"This needs a key with the scope `{scope}`.", scope=scope)

    return guard


may_stream: Final = requires(STREAM)
may_transcribe: Final = requires(TRANSCRIBE)
may_translate: Final = requires(TRANSLATE)
admin_only: Final = requires(ADMIN)


async def authenticated(connection: Connection, _: BaseRouteHandler) -> None:
    """Guard: a valid credential of any scope."""
    await _establish(connection)


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
