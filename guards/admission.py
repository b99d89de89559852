"""How often, and how many at once: the limits of a key, as Litestar guards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from litestar.connection import ASGIConnection
from litestar.datastructures import MutableScopeHeaders
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler
from litestar.types import Message, Scope

from guards.adaptive import LoadPolicy, shrink
from guards.errors import RateLimited, StoreUnavailable, TooManyStreams
from guards.leases import Lease, LeaseKeeper
from guards.principal import Principal
from guards.ratelimit_headers import headers
from guards.tiers import Endpoint, Limits, Tiers
from guards.windows import Decision, MemoryWindows, Standing, Window, Windows

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]

_KEY: Final = "surtitle.decision"
_MINUTE: Final = 60
_DAY: Final = 86_400
_STREAM_RETRY_SECONDS: Final = 5.0


class Limiter:
    """Holds keys to their limits, as the load of the server leaves them.

    While the shared windows are away, this process counts by itself.
    """

    def __init__(
        self,
        *,
        tiers: Tiers,
        windows: Windows,
        leases: LeaseKeeper,
        load: LoadPolicy | None = None,
    ) -> None:
        self.tiers = tiers
        self.leases = leases
        self.load = load or LoadPolicy()
        self._windows = windows
        self._fallback = MemoryWindows()

    def limits(self, principal: Principal) -> Limits:
        """What a key may use at the moment."""
        limits = self.tiers.of(principal.tier, principal.limits)
        return shrink(limits, principal.tier, self.load.level)

    async def admit(self, principal: Principal, endpoint: Endpoint) -> Decision:
        """Count a request, or decide against it."""
        limits = self.limits(principal)
        windows = (
            Window("minute", limits.requests_per_minute, _MINUTE),
            Window(endpoint.value, limits.per_minute(endpoint), _MINUTE),
            Window("day", limits.requests_per_day, _DAY),
        )
        try:
            return await self._windows.admit(principal.key_id, windows)
        except StoreUnavailable:
            return await self._fallback.admit(principal.key_id, windows)

    async def reset(self, key_id: str) -> None:
        """Forget how often a key asked. Raises ``StoreUnavailable``."""
        await self._fallback.clear(key_id)
        await self._windows.clear(key_id)

    async def take(self, principal: Principal) -> Lease:
        """One of the streams a key may have at once. Raises ``TooManyStreams``.

        It is given back by the keeper of the leases.
        """
        limit = self.limits(principal).streams
        lease = await self.leases.take(principal.key_id, limit)
        if lease is None:
            raise TooManyStreams(
                f"This key may have {limit} streams at once.",
                retry_after=_STREAM_RETRY_SECONDS,
                limit=limit,
            )
        return lease


def limited(endpoint: Endpoint) -> Guard:
    """A guard for a class of requests; it comes after the one that says who asks."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        limiter: Limiter = connection.app.state.limiter
        decision = await limiter.admit(connection.user, endpoint)
        state: dict[str, Any] = connection.scope.setdefault("state", {})
        state[_KEY] = decision
        if not decision.admitted:
            raise _refusal(decision.tightest)

    return guard


def decision_headers(scope: Scope) -> dict[str, str]:
    """The headers that tell how the key of a connection stands; none where nothing was limited."""
    state: dict[str, Any] = scope.get("state") or {}
    decision: Decision | None = state.get(_KEY)
    return {} if decision is None else headers(decision)


async def tell(message: Message, scope: Scope) -> None:
    """``before_send`` hook: puts these headers on every limited response."""
    if scope["type"] != ScopeType.HTTP or message["type"] != "http.response.start":
        return
    told = MutableScopeHeaders.from_message(message)
    for name, value in decision_headers(scope).items():
        told[name] = value


def _refusal(standing: Standing) -> RateLimited:
    window = standing.window
    period = "minute" if window.seconds == _MINUTE else "day"
    what = "requests" if window.name == period else f"{window.name} requests"
    return RateLimited(
        f"This key may make {window.limit} {what} a {period}.",
        # A limit of nothing, as load may leave it, says nothing of when there is more.
        retry_after=min(standing.retry_after, window.seconds),
        limit=window.limit,
        window=window.name,
    )
