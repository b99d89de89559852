"""Keys to sign tokens with, as JSON Web Keys."""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm


@cache
def _rsa(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def _ec() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def rsa_jwk(kid: str = "rsa", *, private: bool = True, bits: int = 2048) -> dict[str, Any]:
    key = _rsa(bits)
    jwk = RSAAlgorithm.to_jwk(key if private else key.public_key(), as_dict=True)
    return {**jwk, "kid": kid, "alg": "RS256"}


def ec_jwk(kid: str = "ec", *, private: bool = True) -> dict[str, Any]:
    key = _ec()
    jwk = ECAlgorithm.to_jwk(key if private else key.public_key(), as_dict=True)
    return {**jwk, "kid": kid, "alg": "ES256"}


def oct_jwk(kid: str = "oct", secret: bytes = b"s" * 32) -> dict[str, Any]:
    encoded = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    return {"kty": "oct", "k": encoded, "kid": kid, "alg": "HS256"}


def key_set(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def sign(claims: dict[str, Any], key: dict[str, Any], **header: Any) -> str:
    """A token of these claims, signed by this key, which its header names."""
    signer = jwt.PyJWK(key)
    return jwt.encode(claims, signer.key, signer.algorithm_name, {"kid": key["kid"], **header})
