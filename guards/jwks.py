"""The keys that tokens are signed with: JSON Web Key sets (RFC 7517), from a file or a URL.

A key is good for the one algorithm it was made for, whatever a token's header says: that a public
RSA key is never taken for an HMAC secret is decided here, and not by who sends the token.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from guards.errors import IssuerUnavailable

log = structlog.get_logger(__name__)

ALGORITHMS: Final = frozenset({"HS256", "RS256", "ES256"})

_SECRET_BYTES: Final = 32
_RSA_BITS: Final = 2048
_MAX_KEYS: Final = 64
_MAX_BYTES: Final = 256 * 1024
_FETCH_SECONDS: Final = 5.0

FRESH_SECONDS: Final = 600.0
"""After this a key set is fetched again, while the one at hand is still used."""
STALE_SECONDS: Final = 24 * 3600.0
"""After this without a successful fetch a key set is believed no longer."""
PAUSE_SECONDS: Final = 30.0
"""Between two fetches at least, whatever key ids strangers make up."""


class _Document(msgspec.Struct):
    keys: list[dict[str, Any]]


@dataclass(frozen=True, slots=True, repr=False)
class Key:
    """A key, good for one algorithm. ``signer`` is None where only its public part is known."""

    algorithm: str
    verifier: Any
    signer: Any


KeySet = Mapping[str, Key]
"""Keys by their ``kid``, in the order of the document."""


def parse_key_set(document: bytes, *, ours: bool) -> KeySet:
    """The usable keys of a JWK set.

    ``ours``: it may hold secrets, and a key that is weak, unreadable or without ``kid`` is an
    error; in a set of somebody else's such a key is passed over. Raises ``ValueError``, which
    quotes nothing of the keys, also for what is no key set, and for one without a usable key.
    """
    found: dict[str, Key] = {}
    for number, key in enumerate(_listed(document), start=1):
        algorithm = _algorithm(key)
        # What is for encryption, or for algorithms we do not use, is others' business.
        if key.get("use", "sig") != "sig" or algorithm not in ALGORITHMS:
            continue
        try:
            kid, usable = _usable(key, algorithm)
        except ValueError as error:
            if ours:
                raise ValueError(f"key {number} {error}") from None
            continue
        # A secret that somebody publishes is none. Of two keys of one id the first counts.
        if ours or algorithm != "HS256":
            found.setdefault(kid, usable)
    if not found:
        raise ValueError(f"holds no key for {', '.join(sorted(ALGORITHMS))}")
    return found


def new_key(algorithm: str, kid: str) -> dict[str, Any]:
    """A new key as a JWK, with its secret or private part. Raises ``ValueError``."""
    if algorithm == "HS256":
        encoded = base64.urlsafe_b64encode(secrets.token_bytes(_SECRET_BYTES)).rstrip(b"=")
        jwk: dict[str, Any] = {"kty": "oct", "k": encoded.decode()}
    elif algorithm == "RS256":
        private = rsa.generate_private_key(public_exponent=65_537, key_size=_RSA_BITS)
        jwk = RSAAlgorithm.to_jwk(private, as_dict=True)
    elif algorithm == "ES256":
        jwk = ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    else:
        raise ValueError(f"{algorithm} is none of {', '.join(sorted(ALGORITHMS))}")
    return {**jwk, "kid": kid, "alg": algorithm, "use": "sig"}


def derived_key_set(pepper: bytes) -> KeySet:
    """One HMAC key that follows from the server's pepper: for who configures none."""
    secret = hmac.digest(pepper, b"surtitle: key of access tokens, 1", hashlib.sha256)
    return {"pepper": Key("HS256", secret, secret)}


def _listed(document: bytes) -> list[dict[str, Any]]:
    try:
        keys = msgspec.json.decode(document, type=_Document).keys
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("is no JSON Web Key set (an object with a list `keys`)") from None
    if len(keys) > _MAX_KEYS:
        raise ValueError(f"holds more than {_MAX_KEYS} keys")
    return keys


def _natural(key: Mapping[str, Any]) -> str:
    """The one algorithm of ours that a key is fit for."""
    kind = key.get("kty")
    if kind == "EC":
        return "ES256" if key.get("crv") == "P-256" else ""
    return {"oct": "HS256", "RSA": "RS256"}.get(str(kind), "")


def _algorithm(key: Mapping[str, Any]) -> str:
    return str(key.get("alg") or _natural(key))


def _usable(data: Mapping[str, Any], algorithm: str) -> tuple[str, Key]:
    """A key and its id. Raises ``ValueError`` that says what is wrong with it."""
    kid = data.get("kid")
    if not isinstance(kid, str) or not kid:
        raise ValueError("has no `kid`")
    if _natural(data) != algorithm:
        raise ValueError("is of another kind than its `alg`")
    try:
        material = jwt.PyJWK(dict(data), algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise ValueError("can't be read") from None
    if isinstance(material, bytes):
        if len(material) < _SECRET_BYTES:
            raise ValueError(f"is too short: {_SECRET_BYTES} bytes are the least")
        return kid, Key(algorithm, material, material)
    if isinstance(material, rsa.RSAPrivateKey | rsa.RSAPublicKey) and material.key_size < _RSA_BITS:
        raise ValueError(f"is too short: {_RSA_BITS} bits are the least")
    if isinstance(material, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        return kid, Key(algorithm, material.public_key(), material)
    return kid, Key(algorithm, material, None)


async def fetch(url: str) -> bytes:
    """A document, at most 256 KiB of it, within 5 s. Raises ``httpx.HTTPError``, ``ValueError``."""
    body = bytearray()
    async with (
        asyncio.timeout(_FETCH_SECONDS),
        httpx.AsyncClient(timeout=_FETCH_SECONDS) as client,
        client.stream("GET", url, headers={"Accept": "application/json"}) as response,
    ):
        # A redirect is an error too: the keys are trusted because of where they are.
        if response.status_code != httpx.codes.OK:
            raise ValueError(f"answered with HTTP {response.status_code}")
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > _MAX_BYTES:
                raise ValueError(f"is longer than {_MAX_BYTES} bytes")
    return bytes(body)


class RemoteKeys:
    """The key set at a URL, fetched when it is needed and kept. Event loop only.

    One fetch runs at a time, whoever waits for it. While the URL does not answer, keys that are
    known stay good for a day. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        *,
        fetch: Callable[[str], Awaitable[bytes]] = fetch,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._clock = clock
        self._keys: KeySet = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str) -> Key | None:
        """The key of this id; None when the issuer has none.

        Raises ``IssuerUnavailable`` when no believable key set is at hand.
        """
        age = self._clock() - self._fetched
        if age < STALE_SECONDS and kid in self._keys:
            if age >= FRESH_SECONDS:
                self._refresh()
            return self._keys[kid]
        refreshing = self._refresh()
        if refreshing is not None:
            await asyncio.shield(refreshing)
        if self._clock() - self._fetched >= STALE_SECONDS:
            raise IssuerUnavailable(
                "The keys of the token's issuer can't be had just now.", retry_after=PAUSE_SECONDS
            )
        return self._keys.get(kid)

    async def close(self) -> None:
        """End a fetch that is still running. Idempotent."""
        if self._fetching is not None and not self._fetching.done():
            self._fetching.cancel()
            await asyncio.gather(self._fetching, return_exceptions=True)

    def _refresh(self) -> asyncio.Task[None] | None:
        """The fetch that is running or due; None when it is too early for another."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        if self._clock() - self._tried < PAUSE_SECONDS:
            return None
        self._tried = self._clock()
        self._fetching = asyncio.create_task(self._load(), name="fetch token keys")
        return self._fetching

    async def _load(self) -> None:
        try:
            self._keys = parse_key_set(await self._fetch(self._url), ours=False)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, TimeoutError) as error:
            log.warning("token keys not fetched", url=self._url, reason=str(error) or repr(error))
        else:
            self._fetched = self._clock()
