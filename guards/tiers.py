"""What each tier may use. Everything here can be set in one file, ``SURTITLE_TIERS_FILE``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from guards.principal import Tier
from guards.usage import Quota

_MAX: Final = 2**53
"""Beyond this, JSON and Lua no longer count exactly."""


_LEAST: Final = {"messages_per_second": 1, "session_minutes": 1, "share": 1}
"""Limits of which nothing would be no stream at all: that is what ``streams`` says."""


class Endpoint(StrEnum):
    """Classes of requests that have a limit of their own."""

    TEXT = "text"
    """Translation of texts."""
    SPEECH = "speech"
    """Transcription of files."""
    STREAM = "stream"
    """Streams that are begun."""
    ACCOUNT = "account"
    """Tickets, tokens and usage."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one key may use. Windows slide; quotas are those of a day in UTC."""

    requests_per_minute: int
    requests_per_day: int
    text_per_minute: int
    speech_per_minute: int
    stream_per_minute: int
    account_per_minute: int
    streams: int
    """Streams at once."""
    audio_minutes_per_day: int
    characters_per_day: int
    messages_per_second: int
    """Frames of one stream; more are read later."""
    session_minutes: int
    """How long one stream may last."""
    share: int
    """How large a key's share of the workers is beside others' when not all can be served."""

    @property
    def quota(self) -> Quota:
        """What may be used in a day."""
        return Quota(self.audio_minutes_per_day * 60_000, self.characters_per_day)

    def per_minute(self, endpoint: Endpoint) -> int:
        """Requests of one class in a minute."""
        return int(getattr(self, f"{endpoint}_per_minute"))


LIMITS: Final = tuple(limit.name for limit in fields(Limits))
"""The names of all limits."""


def _limits(
    per_minute: int,
    per_day: int,
    streams: int,
    minutes: int,
    characters: int,
    hours: int,
    frames: int,
    share: int,
) -> Limits:
    return Limits(
        requests_per_minute=per_minute,
        requests_per_day=per_day,
        text_per_minute=per_minute,
        speech_per_minute=max(1, per_minute // 2),
        stream_per_minute=per_minute,
        account_per_minute=per_minute,
        streams=streams,
        audio_minutes_per_day=minutes,
        characters_per_day=characters,
        messages_per_second=frames,
        session_minutes=hours * 60,
        share=share,
    )


_ENTERPRISE: Final = _limits(1_000, 1_000_000, 200, 60_000, 100_000_000, 24, 50_000, 8)

DEFAULTS: Final[Mapping[Tier, Limits]] = MappingProxyType(
    {
        Tier.FREE: _limits(10, 1_000, 1, 60, 100_000, 1, 2_000, 1),
        Tier.BASIC: _limits(50, 10_000, 3, 600, 1_000_000, 4, 5_000, 2),
        Tier.PRO: _limits(200, 100_000, 20, 6_000, 10_000_000, 12, 10_000, 4),
        Tier.ENTERPRISE: _ENTERPRISE,
        Tier.ADMIN: _ENTERPRISE,
    }
)


class TiersError(ValueError):
    """The file of tiers says something that can't be: one line."""


@dataclass(frozen=True, slots=True)
class Tiers:
    """The limits of every tier."""

    limits: Mapping[Tier, Limits] = field(default_factory=lambda: DEFAULTS)

    @classmethod
    def load(cls, path: Path | None) -> Tiers:
        """Those of a file, where it says something; otherwise the defaults.

        Raises ``OSError`` and :class:`TiersError`.
        """
        if path is None:
            return cls()
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TiersError(f"is not TOML: {error}") from error
        unknown = sorted(set(document) - set(Tier))
        if unknown:
            known = ", ".join(Tier)
            raise TiersError(f"[{unknown[0]}] is no tier; tiers are {known}")
        limits = dict(DEFAULTS)
        for tier, given in document.items():
            if not isinstance(given, dict):
                raise TiersError(f"{tier} is no table; write [{tier}]")
            try:
                limits[Tier(tier)] = override(limits[Tier(tier)], given)
            except ValueError as error:
                raise TiersError(f"[{tier}] {error}") from error
        return cls(MappingProxyType(limits))

    def of(self, tier: Tier, overrides: Mapping[str, int] | None = None) -> Limits:
        """The limits of a key. Overrides that are no limits (any more) are passed over."""
        limits = self.limits[tier]
        if not overrides:
            return limits
        known = {name: value for name, value in overrides.items() if name in LIMITS}
        return replace(limits, **known)


def override(limits: Limits, given: Mapping[str, Any]) -> Limits:
    """Limits with some of them set anew. Raises ``ValueError`` for what is none, or no number."""
    check(given)
    return replace(limits, **given)


def check(given: Mapping[str, Any]) -> None:
    """Raise ``ValueError`` unless these are limits by name."""
    for name, value in given.items():
        if name not in LIMITS:
            raise ValueError(f"{name} is no limit; limits are {', '.join(LIMITS)}")
        least = _LEAST.get(name, 0)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MAX:
            raise ValueError(f"{name} is a whole number of at least {least}")
