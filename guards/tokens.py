"""Access tokens: JSON Web Tokens (RFC 7519, RFC 8725), ours and those of one issuer besides.

Ours are made with an API key and stand for it: they end when they expire or when the key does, and
never grant more than the key does by then. Those of an external issuer bring their own user.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import jwt

from guards.errors import ExpiredCredential, Forbidden, InvalidCredential
from guards.jwks import Key, KeySet
from guards.keyring import Keyring
from guards.principal import WORK, Credential, Principal, Tier

_MAX_CHARS: Final = 8192
_MAX_SUBJECT: Final = 128
_LEEWAY_SECONDS: Final = 30.0
_DOTS: Final = 2
_LATEST: Final = 250_000_000_000
"""Seconds since the epoch, in the year 9892: what is later can't be written as a date."""
_REQUIRED: Final = ["exp", "iss", "aud", "sub"]


def looks_like_token(credential: str) -> bool:
    """Whether a text has the form of a JWT: a JSON object in base64, and two dots."""
    return credential.startswith("eyJ") and credential.count(".") == _DOTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """Whose tokens are believed, for whom they must be meant, and where the keys are."""

    name: str
    audience: str
    find: Callable[[str], Awaitable[Key | None]]
    """The key of a ``kid``."""


class Tokens:
    """Issues and checks tokens.

    ``keys`` are ours: the first that can sign signs, all verify, so that a key is rotated by
    putting another before it. ``lifetime`` is in seconds; ``clock`` gives seconds since the epoch.
    ``tier`` is what users of the external issuer get when their token names none.
    """

    def __init__(
        self,
        keyring: Keyring,
        keys: KeySet,
        *,
        issuer: str,
        audience: str,
        lifetime: float = 900.0,
        external: Issuer | None = None,
        tier: Tier = Tier.FREE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.lifetime = lifetime
        self._keyring = keyring
        self._keys = keys
        self._kid, self._key = _signing(keys)
        self._own = Issuer(name=issuer, audience=audience, find=self._find)
        self._external = external
        self._tier = tier
        self._clock = clock

    def issue(
        self, principal: Principal, *, scopes: Iterable[str] = (), lifetime: float | None = None
    ) -> str:
        """A token that stands for the key of this principal.

        With ``scopes`` it may do these only; raises ``Forbidden`` when the key may not itself, and
        when the principal has no key at hand: a token can't prolong itself.
        """
        if principal.credential is not Credential.KEY:
            raise Forbidden("A token is issued for an API key, not for another token.")
        wanted = frozenset(scopes) or principal.scopes
        refused = sorted(scope for scope in wanted if not principal.may(scope))
        if refused:
            raise Forbidden("The key itself does not have these scopes.", scopes=refused)
        now = int(self._clock())
        claims = {
            "iss": self._own.name,
            "aud": self._own.audience,
            "sub": principal.user_id,
            "key": principal.key_id,
            "scope": " ".join(sorted(wanted)),
            "iat": now,
            "nbf": now,
            "exp": now + int(lifetime or self.lifetime),
            "jti": secrets.token_urlsafe(12),
        }
        return jwt.encode(claims, self._key.signer, self._key.algorithm, {"kid": self._kid})

    async def authenticate(self, token: str) -> Principal:
        """Who a token stands for.

        Raises ``InvalidCredential``, ``ExpiredCredential``, ``KeyRevoked``, or
        ``IssuerUnavailable`` when the external issuer's keys can't be had.
        """
        issuer = self._issuer_of(token)
        claims = await self._verified(token, issuer)
        scopes = frozenset(_words(claims.get("scope")))
        if issuer is self._own:
            holder = await self._keyring.holder(str(claims.get("key", "")))
            return replace(
                holder,
                scopes=frozenset(filter(holder.may, scopes)),
                credential=Credential.TOKEN,
            )
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT:
            raise InvalidCredential("The token's `sub` is missing or too long.")
        user = f"{issuer.name}|{subject}"
        return Principal(
            key_id=f"sub_{hashlib.sha256(user.encode()).hexdigest()[:16]}",
            user_id=user,
            tier=self._tier_of(claims),
            # Administration takes a key: whoever runs the issuer does not run this server.
            scopes=scopes & WORK,
            expires_at=datetime.fromtimestamp(min(int(claims["exp"]), _LATEST), UTC),
            credential=Credential.TOKEN,
            issuer=issuer.name,
        )

    def _issuer_of(self, token: str) -> Issuer:
        """The issuer a token names: not yet believed, but it says by which keys to check it."""
        if len(token) > _MAX_CHARS:
            raise InvalidCredential("The token is too long.")
        try:
            claims = jwt.decode(token, options={"verify_signature": False})
        except (jwt.InvalidTokenError, ValueError, RecursionError):
            raise _invalid() from None
        for issuer in filter(None, (self._own, self._external)):
            if claims.get("iss") == issuer.name:
                return issuer
        raise InvalidCredential("The token is of an issuer that is not known here.")

    async def _verified(self, token: str, issuer: Issuer) -> dict[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            key = await issuer.find(str(header.get("kid", "")))
            if key is None:
                raise InvalidCredential("The token's key (`kid`) is not known here.")
            claims: dict[str, Any] = jwt.decode(
                token,
                key.verifier,
                algorithms=[key.algorithm],
                issuer=issuer.name,
                audience=issuer.audience,
                leeway=_LEEWAY_SECONDS,
                options={"require": _REQUIRED},
            )
        except jwt.ExpiredSignatureError:
            raise ExpiredCredential("The token has expired; get another.") from None
        except jwt.ImmatureSignatureError:
            raise InvalidCredential("The token is not valid yet.") from None
        except (jwt.InvalidAudienceError, jwt.MissingRequiredClaimError) as error:
            raise InvalidCredential(f"The token is not for this server: {error}.") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            raise _invalid() from None
        return claims

    async def _find(self, kid: str) -> Key | None:
        return self._keys.get(kid)

    def _tier_of(self, claims: dict[str, Any]) -> Tier:
        named = claims.get("tier")
        known = [tier for tier in Tier if tier is not Tier.ADMIN and tier.value == named]
        return known[0] if known else self._tier


def _signing(keys: KeySet) -> tuple[str, Key]:
    """The first key that can sign, and its id. Raises ``ValueError`` when none can."""
    for kid, key in keys.items():
        if key.signer is not None:
            return kid, key
    raise ValueError("holds no key that can sign: a secret, or one with its private part")


def _words(claim: Any) -> list[str]:
    """Scopes as RFC 8693 writes them, or as a list, as some issuers do."""
    if isinstance(claim, str):
        return claim.split()
    return [str(item) for item in claim] if isinstance(claim, list) else []


def _invalid() -> InvalidCredential:
    return InvalidCredential("The token can't be verified.")
