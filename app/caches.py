"""The caches of the server: which there are, how large, and where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from app.cache import LruCache, ResultCache
from app.settings import MIB, Settings
from app.transcription import Transcript
from guards.redis.cache import RedisCache
from guards.redis.client import RedisHome
from streaming.types import Translation

V = TypeVar("V")

NEAR_SECONDS: Final = 10.0
"""How long memory keeps what the shared home has, too: other processes may have cleared it."""
_TRANSLATION_SECONDS: Final = 2.0
_TRANSCRIPT_SECONDS: Final = 60.0
"""How long a process waits for what another one makes."""


def translations(settings: Settings, redis: RedisHome | None) -> ResultCache[Translation]:
    """Texts' translations."""
    return _cache(
        "translations",
        Translation,
        lambda found: 300 + 4 * len(found.text),
        redis,
        lifetime=settings.translation_cache_seconds,
        capacity=settings.translation_cache_mib * MIB,
        patience=_TRANSLATION_SECONDS,
    )


def transcripts(settings: Settings, redis: RedisHome | None) -> ResultCache[Transcript]:
    """Recordings' transcripts, with their translations."""
    return _cache(
        "transcripts",
        Transcript,
        lambda found: 500 + 40 * len(found.text),  # most of it are words with their times
        redis,
        lifetime=settings.transcript_cache_seconds,
        capacity=settings.transcript_cache_mib * MIB,
        patience=_TRANSCRIPT_SECONDS,
    )


def _cache(
    name: str,
    kind: type[V],
    weigh: Callable[[V], int],
    redis: RedisHome | None,
    *,
    lifetime: int,
    capacity: int,
    patience: float,
) -> ResultCache[V]:
    shared = None
    if redis is not None and lifetime:
        shared = RedisCache(redis, name, lifetime=lifetime, capacity=capacity)
    near = min(lifetime, NEAR_SECONDS) if shared else lifetime
    return ResultCache(LruCache(capacity, weigh, lifetime=near), kind, shared, patience=patience)
