"""The object graph of one server process."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.cache import LruCache
from app.health import MachineSampler
from app.identity import build_throttle, build_tokens
from app.sessions import SessionRegistry, watch_keys
from app.settings import Settings, SettingsError, variable
from app.transcription import Transcriber, Transcript
from guards.audit import AuditLog
from guards.auth import Authenticator
from guards.errors import Draining, Starting
from guards.keyring import Keyring
from guards.origins import OriginPolicy
from guards.secrets import load_pepper
from guards.sqlite import Database, SchemaTooNew
from guards.sqlite_audit import SqliteAuditLog
from guards.sqlite_keys import SqliteKeyStore
from guards.throttle import LoginThrottle
from guards.tickets import MemoryTickets, Tickets
from guards.tokens import Tokens
from inference.dispatcher import DispatcherStats
from streaming.ports import (
    ContainerDecoder,
    LanguageCatalogue,
    Recognizer,
    Translator,
    VoiceDetector,
)
from streaming.types import Translation

log = structlog.get_logger(__name__)

_RETRY_SECONDS: Final = 5.0
_TRANSCRIPT_CHARS: Final = 20_000_000
_TRANSLATION_CHARS: Final = 5_000_000


@dataclass(slots=True, eq=False)
class Services:
    """Everything a request or a stream may need, built once.

    ``ready`` is set when the models are warm; ``draining`` once the server is going away.
    ``closers`` are called in reverse order by :meth:`close`.
    """

    settings: Settings
    recognizer: Recognizer
    detector: VoiceDetector
    translator: Translator
    languages: LanguageCatalogue
    open_container: Callable[[], ContainerDecoder]
    keyring: Keyring
    audit: AuditLog
    tickets: Tickets
    tokens: Tokens
    throttle: LoginThrottle | None
    identify: Callable[[str], Awaitable[tuple[str, float]]]
    """The likeliest language code of a text and its probability; ``und`` when nothing tells."""
    stats: Callable[[], Mapping[str, DispatcherStats]] = dict
    """The workers' counters, by the name of what they do."""
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    ready: bool = False
    draining: bool = False
    sessions: SessionRegistry = field(default_factory=SessionRegistry)
    started_at: float = field(default_factory=time.monotonic)
    authenticator: Authenticator = field(init=False)
    transcriber: Transcriber = field(init=False)
    machine: MachineSampler = field(init=False)
    transcripts: LruCache[tuple[str, ...], Transcript] = field(init=False)
    translations: LruCache[tuple[str, str, str], Translation] = field(init=False)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.authenticator = Authenticator(
            self.keyring,
            self.tickets,
            self.tokens,
            OriginPolicy(self.settings.allowed_origins),
            self.throttle,
        )
        self.transcriber = Transcriber(
            recognizer=self.recognizer,
            detector=self.detector,
            translator=self.translator,
            languages=self.languages,
        )
        self.machine = MachineSampler(self.settings.data_dir)
        self.transcripts = LruCache(_TRANSCRIPT_CHARS, lambda found: 500 + 40 * len(found.text))
        self.translations = LruCache(_TRANSLATION_CHARS, lambda found: 100 + len(found.text))

    def start(self) -> None:
        """Begin what runs beside the requests. Needs a running loop."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(watch_keys(self.sessions, self.keyring), name="watch keys"),
                asyncio.create_task(self.machine.run(), name="sample machine"),
            ]

    def begin_drain(self) -> None:
        """Start to drain, beside whatever asked for it."""
        self.draining = True
        self._tasks.append(asyncio.create_task(self._drain_once(), name="drain"))

    async def _drain_once(self) -> None:
        await self.drain()

    async def drain(self) -> bool:
        """Refuse what is new, let running streams finish; whether all did in time."""
        self.draining = True
        return await self.sessions.drain(self.settings.drain_timeout_seconds)

    async def close(self) -> None:
        """Stop in order: background tasks, workers, models, then the store. Idempotent."""
        self.draining = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        while self.closers:
            await self.closers.pop()()


def services_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Services:
    """The services of the application a connection belongs to."""
    services: Services = connection.app.state.services
    return services


async def serving(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard for what needs the models: refused until they are warm, and while draining."""
    services = services_of(connection)
    if services.draining:
        raise Draining(
            "The server is shutting down; try again in a moment.", retry_after=_RETRY_SECONDS
        )
    if not services.ready:
        raise Starting("The models are still being loaded.", retry_after=_RETRY_SECONDS)


async def build_services(
    settings: Settings, progress: Callable[[str], None] = log.info
) -> Services:
    """Open the key store, load and warm the models; a line of progress for each.

    Raises :class:`~app.settings.SettingsError` when that can't be done as the settings want it.
    """
    # Here, because the model libraries take a second to import, and fakes need none of them.
    from app.models import build_models
    from inference.audio import PyAVContainerDecoder

    database, pepper = await _state(settings)
    keyring = Keyring(SqliteKeyStore(database), pepper)
    try:
        tokens, closers = await asyncio.to_thread(build_tokens, settings, keyring, pepper)
        models = await build_models(settings, progress)
    except BaseException:
        await database.close()
        raise
    return Services(
        settings=settings,
        recognizer=models.recognizer,
        detector=models.detector,
        translator=models.translator,
        languages=models.languages,
        open_container=PyAVContainerDecoder,
        keyring=keyring,
        audit=SqliteAuditLog(database),
        tickets=MemoryTickets(lifetime=settings.ticket_seconds),
        tokens=tokens,
        throttle=build_throttle(settings),
        identify=models.identify,
        stats=models.stats,
        closers=[database.close, *closers, models.close],
        ready=True,
    )


async def _state(settings: Settings) -> tuple[Database, bytes]:
    """The database, and the pepper beside it."""
    try:
        database = await Database.open(settings.database)
    except (OSError, sqlite3.Error, SchemaTooNew) as error:
        raise SettingsError(f"{variable('data_dir')}: {error}") from error
    try:
        return database, await asyncio.to_thread(load_pepper, settings.data_dir)
    except (OSError, ValueError) as error:
        await database.close()
        raise SettingsError(f"{variable('data_dir')}: {error}") from error
