"""Refusals, in the same tree as every other error a client can be told.

SurtitleError
├── AuthenticationError        401, with a ``WWW-Authenticate`` challenge
│   ├── AuthenticationRequired
│   ├── InvalidCredential
│   ├── ExpiredCredential      fatal: also ends a running session
│   └── KeyRevoked             fatal: also ends a running session
├── PermissionRefused          403
│   ├── SessionClosed          fatal: ends a running session
│   ├── Forbidden
│   └── OriginForbidden
├── CredentialInQuery          400
├── KeyUnknown                 404
├── SessionUnknown             404
├── BreakerUnknown             404
├── KeyFixed                   409
├── TooManyTickets             429
├── TooManyFailures            429
├── LimitExceeded              429
│   ├── RateLimited
│   ├── TooManyStreams
│   ├── QuotaExceeded          fatal: also ends a running session
│   └── SessionTooLong         fatal: ends a running session
├── StoreUnavailable           503
├── IssuerUnavailable          503
├── Starting                   503
├── Draining                   503, fatal: also ends a running session
├── ScopeUnknown               400
├── LimitUnknown               400
└── ExpiryPassed               400
"""

from __future__ import annotations

from streaming.errors import ServiceError, SurtitleError


class AuthenticationError(SurtitleError):
    """Who is asking could not be established."""

    code = "authentication_required"
    status = 401


class AuthenticationRequired(AuthenticationError):
    """No credential was given."""


class InvalidCredential(AuthenticationError):
    """The credential is not one of ours, or was used up."""

    code = "invalid_credential"


class ExpiredCredential(AuthenticationError):
    code = "expired_credential"
    fatal = True


class KeyRevoked(AuthenticationError):
    code = "key_revoked"
    fatal = True


class PermissionRefused(SurtitleError):
    """It is known who is asking, and they may not."""

    code = "forbidden"
    status = 403


class Forbidden(PermissionRefused):
    """The credential lacks a scope."""


class SessionClosed(PermissionRefused):
    """An administrator ended the session."""

    code = "session_closed"
    fatal = True


class OriginForbidden(PermissionRefused):
    """A browser on a page of an origin that is not on the list."""

    code = "origin_forbidden"


class CredentialInQuery(SurtitleError):
    """A lasting key in an address ends up in logs and histories, so it is refused there."""

    code = "credential_in_query"
    status = 400


class KeyUnknown(SurtitleError):
    """No API key has this id."""

    code = "key_unknown"
    status = 404


class KeyFixed(SurtitleError):
    """This key is a setting, and not to be changed here."""

    code = "key_fixed"
    status = 409


class SessionUnknown(SurtitleError):
    """No stream of this id is running in this process."""

    code = "session_unknown"
    status = 404


class BreakerUnknown(SurtitleError):
    """No circuit breaker has this name."""

    code = "breaker_unknown"
    status = 404


class TooManyTickets(SurtitleError):
    """One key holds too many unused tickets, or all keys together do."""

    code = "too_many_tickets"
    status = 429
    retryable = True


class TooManyFailures(SurtitleError):
    """Too many wrong credentials came from one address."""

    code = "too_many_failures"
    status = 429
    retryable = True


class LimitExceeded(SurtitleError):
    """A key has used what its tier, or its own limits, allow."""

    code = "limit_exceeded"
    status = 429
    retryable = True


class RateLimited(LimitExceeded):
    """Too many requests in a minute or a day."""

    code = "rate_limited"


class TooManyStreams(LimitExceeded):
    """Too many streams of this key are open at once."""

    code = "too_many_streams"


class QuotaExceeded(LimitExceeded):
    """The day's audio or characters are used up."""

    code = "quota_exceeded"
    fatal = True


class SessionTooLong(LimitExceeded):
    """A stream has lasted as long as one may."""

    code = "session_too_long"
    fatal = True


class StoreUnavailable(ServiceError):
    """The keys can't be read or written just now; who may is not guessed at."""

    code = "store_unavailable"


class IssuerUnavailable(ServiceError):
    """The keys of an external token issuer can't be fetched just now."""

    code = "issuer_unavailable"


class Starting(SurtitleError):
    """The models are still being loaded."""

    code = "starting"
    status = 503
    retryable = True


class Draining(SurtitleError):
    """The server is going away: what was said is finalised, and another server may go on."""

    code = "draining"
    status = 503
    retryable = True
    fatal = True


class ScopeUnknown(SurtitleError):
    """A key can't be given this scope."""

    code = "scope_unknown"
    status = 400


class LimitUnknown(SurtitleError):
    """A key can't be given this limit."""

    code = "limit_unknown"
    status = 400


class ExpiryPassed(SurtitleError):
    """A key would be over before it began."""

    code = "expiry_passed"
    status = 400
