"""The outermost layer: a request id, security headers and one log entry for each connection."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from guards.principal import Principal

log = structlog.get_logger("surtitle.access")

_KEY: Final = "surtitle.request_id"
_CODE: Final = "surtitle.problem"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ACCEPTABLE: Final = re.compile(rb"[\w.:-]{1,128}", re.ASCII)
_CLIENT_ERROR: Final = 400
_SERVER_ERROR: Final = 500

# For the demo page: scripts, styles and the worklet from here, recordings as blob URLs, its own
# WebSocket. `'self'` covers ws: to the same host only in newer browsers, hence the schemes.
_POLICY: Final = (
    "default-src 'self'; "
    "script-src 'self'; "
    "style-src 'self'; "
    "worker-src 'self' blob:; "
    "media-src 'self' blob:; "
    "img-src 'self' data:; "
    "connect-src 'self' ws: wss:; "
    "object-src 'none'; "
    "base-uri 'none'; "
    "form-action 'self'; "
    "frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", _POLICY.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=(), payment=(), usb=()"),
)


def request_id(scope: Scope) -> str:
    """The id that the client gave or that was made for it."""
    state: dict[str, Any] = scope.get("state") or {}
    return str(state.get(_KEY, ""))


def method_of(scope: Scope) -> str:
    """The HTTP method: that of a WebSocket's handshake is GET. ``other`` for what nobody knows."""
    method = str(scope.get("method", "GET"))
    return method if method in _METHODS else "other"


def note_refusal(scope: Scope, code: str) -> None:
    """Keep the code of the error that a connection is answered with."""
    state: dict[str, Any] = scope.setdefault("state", {})
    state[_CODE] = code


def refusal_code(scope: Scope) -> str:
    """The code of the error that a connection was answered with; "" for none."""
    state: dict[str, Any] = scope.get("state") or {}
    return str(state.get(_CODE, ""))


def route_of(scope: Scope) -> str:
    """The template of the route that was found, as ``/auth/api-key/{key_id}``; "" for none."""
    return str(scope.get("path_template", ""))


def _identify(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _ACCEPTABLE.fullmatch(value):
            return value.decode()
    return secrets.token_hex(8)


class RequestContext:
    """ASGI middleware.

    ``hsts_seconds`` is how long browsers shall insist on TLS, told to those that came with it;
    0 tells them nothing. ``clock`` gives monotonic seconds. ``observe`` is told of each connection
    when it has ended, with its status (101 for a WebSocket that was accepted) and how long it took.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hsts_seconds: int = 0,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[Scope, int, float], None] = lambda _scope, _status, _seconds: None,
    ) -> None:
        self._app = app
        self._clock = clock
        self._observe = observe
        self._hsts = f"max-age={hsts_seconds}".encode() if hsts_seconds else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        identity = _identify(scope)
        state: dict[str, Any] = scope.setdefault("state", {})
        state[_KEY] = identity
        started = self._clock()
        status = 0
        headers = [*_HEADERS, (b"x-request-id", identity.encode())]
        if self._hsts and scope["scheme"] in ("https", "wss"):
            headers.append((b"strict-transport-security", self._hsts))

        async def observed(message: Message) -> None:
            nonlocal status
            kind: str = message["type"]
            if kind in ("http.response.start", "websocket.http.response.start"):
                # The second of these is unknown to Litestar's message types.
                start: Any = message
                status = start["status"]
                _decorate(start, headers)
            elif kind == "websocket.close" and not status:
                status = _refused(message)
            elif kind == "websocket.accept":
                status = 101
                accept: Any = message
                accept["headers"] = [
                    *accept.get("headers", []),
                    (b"x-request-id", identity.encode()),
                ]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=identity):
            try:
                await self._app(scope, receive, observed)
            finally:
                seconds = self._clock() - started
                self._observe(scope, status, seconds)
                self._record(scope, status, seconds)

    @staticmethod
    def _record(scope: Scope, status: int, seconds: float) -> None:
        # No query string: it may hold a ticket.
        path = scope["path"]
        quiet = status < _CLIENT_ERROR and path.startswith(("/health", "/demo", "/metrics"))
        known: dict[str, str] = {}
        if code := refusal_code(scope):
            known["code"] = code
        if isinstance(principal := scope.get("user"), Principal):
            known["key_id"] = principal.key_id
        (log.debug if quiet else log.warning if status >= _SERVER_ERROR else log.info)(
            "websocket" if scope["type"] == ScopeType.WEBSOCKET else "request",
            method=scope.get("method", "GET"),
            route=route_of(scope),
            path=path,
            status=status,
            seconds=round(seconds, 3),
            client=(scope.get("client") or ("",))[0],
            **known,
        )


def _refused(close: Any) -> int:
    """The status of a handshake that was closed without a response of its own."""
    code = int(close.get("code", 0))
    return code - 4000 if 4400 <= code < 4600 else 403  # noqa: PLR2004 - 4000 + HTTP status


def _decorate(start: Any, headers: list[tuple[bytes, bytes]]) -> None:
    ours = {name for name, _ in headers}
    start["headers"] = [
        *(header for header in start["headers"] if header[0].lower() not in ours),
        *headers,
    ]
