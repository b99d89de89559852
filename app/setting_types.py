"""Types of settings: what can be said of a value by itself, and read from a variable."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode

from guards.origins import normalize
from guards.principal import Tier
from guards.redis.address import parse
from streaming.breaker import BreakerPolicy

_POLICY: Final = re.compile(r"([a-z0-9][a-z0-9:_-]{0,63})=([1-9]\d{0,3})/(\d{1,5}(?:\.\d+)?)")


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _split(value: Any) -> Any:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def _home(value: Path) -> Path:
    path = value.expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is not a directory")
    return path


def _directories(value: tuple[Path, ...]) -> tuple[Path, ...]:
    paths = tuple(path.expanduser().absolute() for path in value)
    for path in paths:
        if not path.is_dir():
            raise ValueError(f"{path} is not a directory")
    return paths


def _file(value: Path) -> Path:
    if not value.expanduser().is_file():
        raise ValueError(f"{value} is not a file")
    return value.expanduser()


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(normalize(origin) for origin in value)


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for network in value:
        if network != "*":
            ipaddress.ip_network(network, strict=False)
    return value


def _sendable(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("a key is printable ASCII without spaces, to fit into a header")
    return value


def _redis(value: SecretStr) -> SecretStr:
    parse(value.get_secret_value())
    return value


def _encrypted(value: str) -> str:
    parts = urlsplit(value)
    here = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme != "https" and not (parts.scheme == "http" and here):
        raise ValueError("keys are fetched over https:// only")
    return value


def breaker_policy(text: str) -> tuple[str, BreakerPolicy]:
    """A service's name and policy, of ``name=failures/seconds``. Raises ``ValueError``."""
    found = _POLICY.fullmatch(text)
    if found is None or not float(found[3]):
        raise ValueError("a service's breaker is written name=failures/seconds, as in redis=1/0.5")
    return found[1], BreakerPolicy(failures=int(found[2]), recovery=float(found[3]))


def _policies(value: tuple[str, ...]) -> tuple[str, ...]:
    for text in value:
        breaker_policy(text)
    return value


def _no_admin(value: Tier) -> Tier:
    if value is Tier.ADMIN:
        raise ValueError("administration takes a key")
    return value


def _rising(value: tuple[float, float]) -> tuple[float, float]:
    warn, critical = value
    if not 0 <= warn <= critical:
        raise ValueError("is two numbers, the first not above the second")
    return value


AnyCase: Final = BeforeValidator(_lower)
"""For choices that may be written in capitals."""

DataDirectory = Annotated[Path, AfterValidator(_home)]
"""A directory that may not be there yet."""

ExistingFile = Annotated[Path, AfterValidator(_file)]

ExistingDirectories = Annotated[
    tuple[Path, ...], NoDecode, BeforeValidator(_split), AfterValidator(_directories)
]

Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]
"""Origins of pages, normalised; ``*`` for all."""

Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_networks)]
"""Addresses and networks; ``*`` for all."""

BreakerPolicies = Annotated[
    tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_policies)
]
"""What :func:`breaker_policy` reads."""

HeaderSecret = Annotated[SecretStr, AfterValidator(_sendable)]
"""A secret that fits into a header."""

RedisUrl = Annotated[SecretStr, AfterValidator(_redis)]

SecureUrl = Annotated[str, AfterValidator(_encrypted)]
"""An address over TLS, or on this machine."""

UserTier = Annotated[Tier, AfterValidator(_no_admin)]
"""Any tier but that of administrators."""

Rising = Annotated[tuple[float, float], NoDecode, BeforeValidator(_split), AfterValidator(_rising)]
"""Two numbers, not falling: from where on something is degraded, and from where on critical."""
