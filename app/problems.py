"""Every error as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

import http
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, SerializationException
from litestar.types import ExceptionHandlersMap, Scope

from app.context import note_refusal, request_id
from guards.admission import decision_headers
from guards.errors import AuthenticationError, AuthenticationRequired
from streaming.errors import SurtitleError

log = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_SERVER_ERROR: Final = 500

_QUOTED: Final = re.compile(r"""(?<=value) (['\"]).*\1""", re.DOTALL)
"""What msgspec quotes of a wrong enumeration value: it may be a key in the wrong field."""

_CODES: Final = {
    400: "invalid_request",
    401: "authentication_required",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    408: "request_timeout",
    413: "payload_too_large",
    415: "unsupported_media_type",
    429: "rate_limited",
    503: "service_error",
}
"""Codes of errors that the framework raises; ours carry their own."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What a client is told. ``code`` is what programs branch on; ``details`` are extra members."""

    status: int
    code: str
    detail: str
    retryable: bool = False
    retry_after: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, request: str) -> bytes:
        """The JSON document. ``request`` is the request id."""
        members: dict[str, Any] = {
            **self.details,
            "type": f"urn:surtitle:problem:{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "retryable": self.retryable,
            "request_id": request,
        }
        if self.retry_after is not None:
            members["retry_after"] = self.retry_after
        return msgspec.json.encode(members, enc_hook=str)

    def all_headers(self) -> dict[str, str]:
        headers = {**self.headers, "Content-Type": MEDIA_TYPE, "Cache-Control": "no-store"}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        return headers


def problem_of(error: Exception) -> Problem:
    """What is told about any exception. What is not expected is told without its internals."""
    if isinstance(error, SurtitleError):
        return Problem(
            status=error.status,
            code=error.code,
            detail=error.message,
            retryable=error.retryable,
            retry_after=error.retry_after,
            details=error.details,
            headers=_challenge(error),
        )
    if isinstance(error, SerializationException | RecursionError):
        return Problem(400, "invalid_request", "The request's body can't be read as JSON.")
    if isinstance(error, HTTPException) and error.status_code < _SERVER_ERROR:
        return _framework(error)
    return Problem(
        _SERVER_ERROR, "internal_error", "Something went wrong on the server.", retryable=True
    )


def _framework(error: HTTPException) -> Problem:
    status = error.status_code
    details: dict[str, Any] = {}
    if isinstance(error.extra, list):
        details["errors"] = [
            {
                "path": str(item.get("key", "")),
                "in": str(getattr(item.get("source", ""), "value", item.get("source", ""))),
                "message": _QUOTED.sub("", str(item.get("message", ""))),
            }
            for item in error.extra
            if isinstance(item, dict)
        ]
    return Problem(
        status=status,
        code=_CODES.get(status, "http_error"),
        detail=error.detail or http.HTTPStatus(status).phrase,
        details=details,
    )


def _challenge(error: SurtitleError) -> dict[str, str]:
    """``WWW-Authenticate`` as RFC 6750 wants it."""
    if not isinstance(error, AuthenticationError):
        return {}
    challenge = 'Bearer realm="surtitle"'
    if not isinstance(error, AuthenticationRequired):
        challenge += ', error="invalid_token"'
    return {"WWW-Authenticate": challenge}


def _log(error: Exception, problem: Problem) -> None:
    if problem.status >= _SERVER_ERROR and not isinstance(error, SurtitleError):
        log.error("unexpected error", exc_info=error)


def respond(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Litestar exception handler for HTTP."""
    problem = problem_of(error)
    note_refusal(request.scope, problem.code)
    _log(error, problem)
    return Response(
        content=problem.body(request_id(request.scope)),
        status_code=problem.status,
        headers=problem.all_headers(),
        media_type=MEDIA_TYPE,
    )


def refuse(error: Exception, scope: Scope) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """The same for a refused WebSocket handshake (:class:`guards.denial.HandshakeDenial`)."""
    problem = problem_of(error)
    note_refusal(scope, problem.code)
    _log(error, problem)
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in {**decision_headers(scope), **problem.all_headers()}.items()
    ]
    return problem.status, headers, problem.body(request_id(scope))


HANDLERS: Final[ExceptionHandlersMap] = {
    SurtitleError: respond,
    HTTPException: respond,
    Exception: respond,
}
