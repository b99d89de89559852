"""Who is let in, as the settings say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from app.settings import Settings, SettingsError, variable
from guards.jwks import KeySet, RemoteKeys, derived_key_set, parse_key_set
from guards.keyring import Keyring
from guards.throttle import LoginThrottle, WindowThrottle
from guards.tokens import Issuer, Tokens
from guards.windows import Windows

_MAX_FILE_BYTES: Final = 256 * 1024

Closer = Callable[[], Awaitable[None]]


def build_tokens(
    settings: Settings, keyring: Keyring, pepper: bytes
) -> tuple[Tokens, list[Closer]]:
    """What issues and checks tokens, and what is to be closed after it. Reads a file.

    Raises :class:`~app.settings.SettingsError`.
    """
    closers: list[Closer] = []
    external = None
    if settings.jwks_url is not None and settings.jwks_issuer is not None:
        remote = RemoteKeys(settings.jwks_url)
        closers.append(remote.close)
        external = Issuer(
            name=settings.jwks_issuer, audience=settings.jwks_audience, find=remote.find
        )
    try:
        tokens = Tokens(
            keyring,
            _key_set(settings, pepper),
            issuer=settings.jwt_issuer,
            audience=settings.jwt_audience,
            lifetime=settings.token_seconds,
            external=external,
            tier=settings.jwks_tier,
        )
    except (OSError, ValueError) as error:
        raise SettingsError(f"{variable('jwt_keys')}: {error}") from error
    return tokens, closers


def _key_set(settings: Settings, pepper: bytes) -> KeySet:
    if settings.jwt_keys is None:
        return derived_key_set(pepper)
    with settings.jwt_keys.open("rb") as file:
        return parse_key_set(file.read(_MAX_FILE_BYTES), ours=True)


def build_throttle(settings: Settings, windows: Windows) -> LoginThrottle | None:
    """What slows down who sends wrong credentials."""
    if not settings.login_failures_per_minute:
        return None
    return WindowThrottle(windows, per_minute=settings.login_failures_per_minute)
