"""Where state is kept, as the settings want it: in the data directory and memory, or in Redis."""

from __future__ import annotations

import asyncio
import hmac
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import stamina

from app.breakers import Breakers
from app.settings import Settings, SettingsError, variable
from guards.audit import AuditLog
from guards.errors import StoreUnavailable
from guards.keyring import Keyring
from guards.leases import Leases, MemoryLeases
from guards.metering import MemoryJournal, Metering
from guards.redis.address import parse
from guards.redis.audit import RedisAuditLog
from guards.redis.client import RedisHome
from guards.redis.keys import RedisKeyStore
from guards.redis.leases import RedisLeases
from guards.redis.resume import RedisResumeLog
from guards.redis.tickets import RedisTickets
from guards.redis.usage import RedisUsage
from guards.redis.windows import RedisWindows
from guards.resume import MemoryResumeLog, ResumeLog
from guards.secrets import fingerprint, load_pepper
from guards.sqlite import Database, SchemaTooNew
from guards.sqlite_audit import SqliteAuditLog
from guards.sqlite_keys import SqliteKeyStore
from guards.sqlite_resume import SqliteResumeLog
from guards.sqlite_usage import SqliteJournal, SqliteUsage
from guards.tickets import MemoryTickets, Tickets
from guards.windows import MemoryWindows, Windows

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Everything that is remembered, behind its ports."""

    pepper: bytes
    keyring: Keyring
    audit: AuditLog
    tickets: Tickets
    metering: Metering
    windows: Windows
    leases: Leases
    resume: ResumeLog
    redis: RedisHome | None = None
    """Where it is shared."""


@asynccontextmanager
async def opened(
    settings: Settings, breakers: Breakers | None = None, *, patience: float = 0.0
) -> AsyncIterator[State]:
    """The state for as long as the block lasts. ``breakers`` gets that of Redis, for which is
    waited for ``patience`` seconds where it does not answer.

    Raises :class:`~app.settings.SettingsError` when it can't be had as the settings want it.
    """
    try:
        database = await Database.open(settings.database)
    except (OSError, sqlite3.Error, SchemaTooNew) as error:
        raise SettingsError(f"{variable('data_dir')}: {error}") from error
    try:
        pepper = await asyncio.to_thread(_pepper, settings)
        if settings.redis_url is None:
            yield _embedded(settings, database, pepper)
            return
        address = parse(settings.redis_url.get_secret_value())
        breaker = (breakers or Breakers.of(settings)).breaker("redis")
        redis = RedisHome(address, prefix=settings.redis_prefix, breaker=breaker)
        try:
            await _agree(redis, pepper, patience)
            yield _shared(settings, database, redis, pepper)
        finally:
            await redis.close()
    finally:
        await database.close()


def _embedded(settings: Settings, database: Database, pepper: bytes) -> State:
    return State(
        pepper=pepper,
        keyring=Keyring(SqliteKeyStore(database), pepper),
        audit=SqliteAuditLog(database),
        tickets=MemoryTickets(lifetime=settings.ticket_seconds),
        metering=Metering(SqliteUsage(database), MemoryJournal()),
        windows=MemoryWindows(),
        leases=MemoryLeases(),
        resume=SqliteResumeLog(database) if settings.resume_log == "disk" else MemoryResumeLog(),
    )


def _shared(settings: Settings, database: Database, redis: RedisHome, pepper: bytes) -> State:
    return State(
        pepper=pepper,
        keyring=Keyring(RedisKeyStore(redis), pepper, believe_known=settings.away_auth == "open"),
        audit=RedisAuditLog(redis),
        tickets=RedisTickets(redis, lifetime=settings.ticket_seconds),
        metering=Metering(
            RedisUsage(redis),
            SqliteJournal(database),
            closed=settings.away_metering == "closed",
        ),
        windows=RedisWindows(redis),
        leases=RedisLeases(redis),
        resume=RedisResumeLog(redis),
        redis=redis,
    )


def _pepper(settings: Settings) -> bytes:
    if settings.pepper is not None:
        return settings.pepper.get_secret_value().encode()
    try:
        return load_pepper(settings.data_dir)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{variable('data_dir')}: {error}") from error


async def patiently(ask: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Ask a store, and ask again for so many seconds while it is away.

    Raises ``StoreUnavailable`` when it was away all the time.
    """
    if not seconds:
        return await ask()
    caller = stamina.AsyncRetryingCaller(attempts=None, timeout=seconds, wait_max=1.0)
    return await caller(StoreUnavailable, ask)


async def _agree(redis: RedisHome, pepper: bytes, patience: float) -> None:
    """Make sure that this server hashes keys as those did that wrote them."""
    mine = fingerprint(pepper).encode()
    key = redis.key("pepper")

    async def first() -> bytes | None:
        await redis.run(lambda: redis.client.set(key, mine, nx=True))
        found: bytes | None = await redis.run(lambda: redis.client.get(key))
        return found

    try:
        theirs = await patiently(first, patience)
    except StoreUnavailable as error:
        raise SettingsError(f"{variable('redis_url')}: Redis does not answer") from error
    if theirs is None or not hmac.compare_digest(theirs, mine):
        raise SettingsError(
            f"{variable('pepper')}: the keys in Redis were hashed with another one; give all "
            "servers the same"
        )
