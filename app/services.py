"""The object graph of one server process."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import structlog
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.breakers import Breakers
from app.cache import ResultCache
from app.caches import transcripts, translations
from app.canary import Canary, Probe
from app.capacity import Capacity
from app.health import Reporter
from app.health_checks import NEEDED, asks_of
from app.identity import build_throttle, build_tokens
from app.load import watch_load
from app.looplag import LoopLag
from app.machine import MachineSampler
from app.observability.metrics import Metrics
from app.observability.tracing import Tracing
from app.sessions import SessionRegistry, watch_keys
from app.settings import Settings, SettingsError, variable
from app.state import State, opened
from app.streams import Streams
from app.transcription import Transcriber, Transcript
from guards.adaptive import LoadPolicy
from guards.admission import Limiter
from guards.audit import AuditLog
from guards.auth import Authenticator
from guards.errors import Draining, Starting, StoreUnavailable
from guards.keyring import Keyring
from guards.leases import LeaseKeeper
from guards.metering import Metering
from guards.origins import OriginPolicy
from guards.resume import ResumeLog
from guards.throttle import LoginThrottle
from guards.tickets import Tickets
from guards.tiers import Tiers, TiersError
from guards.tokens import Tokens
from inference.dispatcher import DispatcherStats
from inference.memory import CacheStats
from inference.supervision import Staff
from streaming.errors import ModelUnavailable
from streaming.ports import (
    ContainerDecoder,
    LanguageCatalogue,
    Recognizer,
    Translator,
    VoiceDetector,
)
from streaming.types import Translation

log = structlog.get_logger(__name__)

Readiness = Literal["ok", "starting", "draining", "unavailable"]

_RETRY_SECONDS: Final = 5.0


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
    state: State
    tokens: Tokens
    throttle: LoginThrottle | None
    identify: Callable[[str], Awaitable[tuple[str, float]]]
    """The likeliest language code of a text and its probability; ``und`` when nothing tells."""
    stats: Callable[[], Mapping[str, DispatcherStats]] = dict
    """The workers' counters, by the name of what they do."""
    speech_version: str = ""
    """Changes whenever transcripts may: what is cached under another is stale."""
    forget: Callable[[], None] = lambda: None
    """Empties what the models themselves remember."""
    breakers: Breakers = field(default_factory=Breakers)
    staff: Callable[[], Mapping[str, Staff]] = dict
    """The workers themselves, by the name of what they do."""
    probes: Sequence[Probe] = ()
    """How to ask each model whether it answers."""
    model_caches: Callable[[], Mapping[str, CacheStats]] = dict
    """What the models remember, by what it is."""
    metrics: Metrics = field(default_factory=Metrics)
    tracing: Tracing = field(default_factory=Tracing)
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    ready: bool = False
    draining: bool = False
    sessions: SessionRegistry = field(default_factory=SessionRegistry)
    started_at: float = field(default_factory=time.monotonic)
    tiers: Tiers = field(default_factory=Tiers)
    keyring: Keyring = field(init=False)
    audit: AuditLog = field(init=False)
    tickets: Tickets = field(init=False)
    metering: Metering = field(init=False)
    limiter: Limiter = field(init=False)
    authenticator: Authenticator = field(init=False)
    transcriber: Transcriber = field(init=False)
    capacity: Capacity = field(init=False)
    machine: MachineSampler = field(init=False)
    canary: Canary = field(init=False)
    health: Reporter = field(init=False)
    lag: LoopLag = field(default_factory=LoopLag)
    resume: ResumeLog = field(init=False)
    streams: Streams = field(init=False)
    transcripts: ResultCache[Transcript] = field(init=False)
    translations: ResultCache[Translation] = field(init=False)
    _tasks: list[asyncio.Task[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.recognizer = self.metrics.observed_recognizer(self.recognizer)
        self.translator = self.metrics.observed_translator(self.translator)
        self.lag.observe = self.metrics.loop_delay.observe
        if self.state.redis is not None:
            self.state.redis.observe = self.metrics.redis.observe
        self.keyring = self.state.keyring
        self.audit = self.state.audit
        self.tickets = self.state.tickets
        self.metering = self.state.metering
        self.resume = self.state.resume
        self.streams = Streams(self)
        self.limiter = Limiter(
            tiers=self.tiers,
            windows=self.state.windows,
            leases=LeaseKeeper(self.state.leases),
            load=LoadPolicy(),
        )
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
        self.capacity = Capacity(
            lambda: self.recognizer.pressure,
            self.sessions,
            self.settings.capacity_strain,
            late=lambda: self.lag.usual,
        )
        self.machine = MachineSampler(self.settings.data_dir)
        self.transcripts = transcripts(self.settings, self.state.redis)
        self.translations = translations(self.settings, self.state.redis)
        self.canary = Canary(
            self.probes,
            interval=self.settings.canary_interval_seconds,
            timeout=self.settings.canary_timeout_seconds,
        )
        self.health = Reporter(asks_of(self))

    def caches(self) -> Mapping[str, CacheStats]:
        """The statistics of all caches, by what is in them."""
        return {
            "transcripts": self.transcripts.totals,
            "translations": self.translations.totals,
            **self.model_caches(),
        }

    def breaker_states(self) -> Mapping[str, str]:
        """``closed``, ``half_open`` or ``open``, by the name of what the breaker guards."""
        return {status.name: status.state.value for status in self.breakers.states}

    def start(self) -> None:
        """Begin what runs beside the requests. Needs a running loop."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(watch_keys(self.sessions, self.keyring), name="watch keys"),
                asyncio.create_task(self.machine.run(), name="sample machine"),
                asyncio.create_task(self.lag.run(), name="measure the loop"),
                asyncio.create_task(self.canary.run(), name="ask the models"),
                asyncio.create_task(self.limiter.leases.run(), name="keep leases"),
                asyncio.create_task(self.metering.run(), name="settle usage"),
            ]
            if self.settings.adaptive_limits:
                watch = watch_load(
                    self.limiter.load, self.stats, lambda: self.machine.latest, self.lag
                )
                self._tasks.append(asyncio.create_task(watch, name="watch load"))

    @property
    def readiness(self) -> Readiness:
        """Whether requests and streams are taken, and why not. Cheap."""
        if self.draining:
            return "draining"
        if not self.ready:
            return "starting"
        staff = self.staff()
        manned = all(
            each.working and not each.exhausted for name, each in staff.items() if name in NEEDED
        )
        return "ok" if manned and self.canary.answering else "unavailable"

    @property
    def alive(self) -> bool:
        """False when only a restart of the process can help."""
        hopeless = any(each.exhausted for name, each in self.staff().items() if name in NEEDED)
        return not (hopeless or self.canary.deaf)

    def begin_drain(self) -> None:
        """Start to drain, beside whatever asked for it. Idempotent."""
        if not self.draining:
            self.draining = True
            self._tasks.append(asyncio.create_task(self.drain(), name="drain"))

    async def drain(self) -> bool:
        """Refuse what is new, let running streams come to an end; whether all did in time."""
        self.draining = True
        return await self.sessions.drain(self.settings.drain_timeout_seconds)

    async def close(self) -> None:
        """Stop in order: background tasks, streams, workers, models, then the store. Idempotent."""
        self.draining = True
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.streams.close()
        with contextlib.suppress(StoreUnavailable):
            await self.metering.settle()
        while self.closers:
            await self.closers.pop()()


def services_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Services:
    """The services of the application a connection belongs to."""
    services: Services = connection.app.state.services
    return services


async def serving(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard for what needs the models: refused until they are warm, while they do not answer, and
    while draining.
    """
    match services_of(connection).readiness:
        case "draining":
            raise Draining(
                "The server is shutting down; try again in a moment.", retry_after=_RETRY_SECONDS
            )
        case "starting":
            raise Starting("The models are still being loaded.", retry_after=_RETRY_SECONDS)
        case "unavailable":
            raise ModelUnavailable(
                "The models do not answer; try again in a moment.", retry_after=_RETRY_SECONDS
            )


async def build_services(
    settings: Settings, progress: Callable[[str], None] = log.info
) -> Services:
    """Open the key store, load and warm the models; a line of progress for each.

    Raises :class:`~app.settings.SettingsError` when that can't be done as the settings want it.
    """
    # Here, because the model libraries take a second to import, and fakes need none of them.
    from app.models import build_models
    from inference.audio import PyAVContainerDecoder

    tiers = load_tiers(settings)
    breakers = Breakers.of(settings)
    stack = contextlib.AsyncExitStack()
    state = await stack.enter_async_context(
        opened(settings, breakers, patience=settings.redis_wait_seconds)
    )
    try:
        tokens, closers = await asyncio.to_thread(
            build_tokens, settings, state.keyring, state.pepper
        )
        models = await build_models(settings, progress, breakers)
    except BaseException:
        await stack.aclose()
        raise
    tracing = Tracing.from_environment()
    services = Services(
        settings=settings,
        recognizer=models.recognizer,
        detector=models.detector,
        translator=models.translator,
        languages=models.languages,
        open_container=PyAVContainerDecoder,
        state=state,
        tokens=tokens,
        throttle=build_throttle(settings, state.windows),
        tiers=tiers,
        identify=models.identify,
        stats=models.stats,
        speech_version=models.speech_version,
        forget=models.translator.forget,
        breakers=breakers,
        staff=models.staff,
        probes=models.probes(),
        model_caches=models.caches,
        tracing=tracing,
        closers=[stack.aclose, tracing.close, *closers, models.close],
        ready=True,
    )
    models.observe(services.metrics.note_batch)
    return services


def load_tiers(settings: Settings) -> Tiers:
    """The tiers of the settings. Raises :class:`~app.settings.SettingsError`."""
    try:
        return Tiers.load(settings.tiers_file)
    except (OSError, TiersError) as error:
        raise SettingsError(f"{variable('tiers_file')}: {error}") from error
