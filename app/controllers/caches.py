"""The caches, for administrators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from litestar import Request, get, post
from msgspec import Struct

from app.audit import audited
from app.cache import ResultCacheStats
from app.controllers.documentation import answered, problems
from app.services import services_of
from guards.principal import Principal


class CacheInfo(Struct):
    """What this process did with a cache since it started, and what it holds in memory.

    ``misses`` were made; ``joined`` waited for one that was being made already. ``weight`` is of
    all entries, in bytes, estimated. With ``shared`` there is also what all processes have in
    Redis; ``shared_failures`` counts when it did not answer.
    """

    hits: int
    misses: int
    joined: int
    entries: int
    weight: int
    evictions: int
    shared: bool
    shared_failures: int


class CachesInfo(Struct):
    """The two caches of results."""

    transcripts: CacheInfo
    translations: CacheInfo


class Cleared(Struct):
    """How many entries were dropped."""

    transcripts: int
    translations: int


_CACHE: Final = {
    "hits": 812,
    "misses": 190,
    "joined": 3,
    "entries": 187,
    "weight": 81_344,
    "evictions": 0,
    "shared": False,
    "shared_failures": 0,
}


@get(
    "/cache",
    summary="How the caches do",
    operation_id="cacheStatistics",
    responses=answered(
        CachesInfo, "Those of this process.", {"transcripts": _CACHE, "translations": _CACHE}
    )
    | problems(401, 403, 429),
)
async def show_caches(request: Request[Principal, Any, Any]) -> CachesInfo:
    services = services_of(request)
    return CachesInfo(
        transcripts=_info(services.transcripts.stats),
        translations=_info(services.translations.stats),
    )


@post(
    "/cache/clear",
    status_code=200,
    summary="Forget cached transcripts and translations",
    description="With Redis, those of all servers; what others have in memory besides is gone "
    "10 seconds later.",
    operation_id="clearCache",
    responses=answered(Cleared, "Done.", {"transcripts": 12, "translations": 3456})
    | problems(401, 403, 429, 503),
)
async def clear_cache(request: Request[Principal, Any, Any]) -> Cleared:
    services = services_of(request)
    async with audited(request, "cache.clear"):
        services.forget()
        return Cleared(
            transcripts=await services.transcripts.clear(),
            translations=await services.translations.clear(),
        )


def _info(stats: ResultCacheStats) -> CacheInfo:
    return CacheInfo(**asdict(stats))
