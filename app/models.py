"""The models the settings ask for, loaded and warm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from app.breakers import Breakers
from app.canary import Probe
from app.settings import Settings, SettingsError, variable
from app.translators import build_remotes, keep_up
from inference.bergamot import BergamotEngine
from inference.ct2_translation import CTranslate2Engine
from inference.dispatcher import DispatcherStats
from inference.engine import RemoteEngine, TextEngine
from inference.identification import TextIdentifier
from inference.languages import Languages
from inference.memory import CacheStats
from inference.models import ModelStore, ModelStoreError, fingerprint
from inference.observing import BatchObserver
from inference.silero import SileroDetector
from inference.supervision import Staff, Supervision
from inference.translator import TextTranslator
from inference.whisper import WhisperRecognizer
from streaming.errors import ModelUnavailable

T = TypeVar("T")

Progress = Callable[[str], None]


@dataclass(slots=True, eq=False)
class Models:
    """Everything that computes. Their workers run until :meth:`close`."""

    recognizer: WhisperRecognizer
    detector: SileroDetector
    translator: TextTranslator
    languages: Languages
    identify: Callable[[str], Awaitable[tuple[str, float]]]
    speech_version: str
    """Changes with the speech model and how it is run."""
    local_engines: tuple[str, ...]
    """Translators that run here, and cost nothing to ask."""
    watch: asyncio.Task[None] | None = None
    """Keeps up with what services elsewhere translate."""

    def stats(self) -> Mapping[str, DispatcherStats]:
        """The workers' counters, by what they do."""
        engines = self.translator.stats.engines
        return {
            "speech": self.recognizer.stats,
            **{f"translation:{name}": stats for name, stats in engines.items()},
        }

    def staff(self) -> Mapping[str, Staff]:
        """The workers, by what they do."""
        return {
            "speech": self.recognizer.staff,
            "voice": self.detector.staff,
            **{f"translation:{name}": staff for name, staff in self.translator.staff.items()},
        }

    def probes(self) -> list[Probe]:
        """How to ask each model that runs here whether it answers."""
        return [
            Probe("speech", self.recognizer.probe, lambda: self.recognizer.answered_at),
            Probe("voice", self.detector.probe, lambda: self.detector.answered_at),
            *(
                Probe(
                    f"translation:{name}",
                    partial(self.translator.probe, name),
                    partial(self.translator.answered_at, name),
                    needed=False,
                )
                for name in self.local_engines
            ),
        ]

    def observe(self, observer: BatchObserver) -> None:
        """Have an observer told of each batch of speech, in the worker's thread."""
        self.recognizer.observe(observer)

    def caches(self) -> Mapping[str, CacheStats]:
        """What the models remember, by what it is."""
        return {"sentences": self.translator.stats.cache}

    async def close(self) -> None:
        """End the workers, those first that others' results go to. Idempotent."""
        if self.watch is not None:
            self.watch.cancel()
            await asyncio.wait([self.watch])
        await self.recognizer.close()
        await self.translator.close()
        await self.detector.close()


async def build_models(
    settings: Settings, progress: Progress, breakers: Breakers | None = None
) -> Models:
    """Load and warm all models, side by side in threads; one line of progress for each.

    ``breakers`` gets those of translation services elsewhere. One that does not answer now is
    asked again later.

    Raises :class:`~app.settings.SettingsError` when one can't be had as the settings want it, so
    that the line names what to change.
    """
    supervision = _supervision(settings)
    remotes = build_remotes(settings, breakers or Breakers.of(settings))
    (recognizer, speech_version), detector, (translator, identifier) = await asyncio.gather(
        _timed(f"speech model {settings.asr_model}", progress, lambda: _recognizer(settings)),
        _timed(
            "voice activity",
            progress,
            lambda: SileroDetector.load(supervision=supervision),
        ),
        _timed("translation", progress, lambda: _translator(settings, remotes)),
    )
    for part in (detector, translator, recognizer):
        part.start()
    languages = Languages(
        speech=recognizer.languages,
        speech_to_english=recognizer.translates,
        text_pairs=translator.pairs,
        text_route=translator.route,
        text_available=translator.available,
    )

    async def changed() -> None:
        nonlocal identifier
        languages.update(translator.pairs)
        identifier = await asyncio.to_thread(_identifier, translator)

    async def identify(text: str) -> tuple[str, float]:
        return await identifier.identify(text)

    watch = None
    if remotes:
        if await translator.refresh():
            progress(f"translators elsewhere: {', '.join(one.name for one in remotes)}")
        await changed()
        watch = asyncio.create_task(keep_up(translator, changed), name="keep up with translators")
    return Models(
        recognizer=recognizer,
        detector=detector,
        translator=translator,
        languages=languages,
        watch=watch,
        identify=identify,
        speech_version=speech_version,
        local_engines=tuple(translator.staff),
    )


async def _timed(what: str, progress: Progress, load: Callable[[], T]) -> T:
    started = time.monotonic()
    loaded = await asyncio.to_thread(load)
    progress(f"{what} … {time.monotonic() - started:.1f} s")
    return loaded


def _recognizer(settings: Settings) -> tuple[WhisperRecognizer, str]:
    try:
        model = ModelStore(settings.data_dir).speech(settings.asr_model)
        version = f"{model.name}-{settings.compute_type}-{fingerprint(model.path)}"
    except ModelStoreError as error:
        raise SettingsError(f"{variable('asr_model')}: {error}") from error
    except OSError as error:
        raise SettingsError(f"{variable('data_dir')}: {error}") from error
    try:
        recognizer = WhisperRecognizer.load(
            model.path,
            name=model.name,
            device=settings.device,
            compute_type=settings.compute_type,
            replicas=settings.asr_replicas,
            threads=settings.asr_threads,
            supervision=_supervision(settings),
        )
    except (RuntimeError, ValueError) as error:
        name = "compute_type" if "compute type" in str(error) else "device"
        line = " ".join(str(error).split())
        raise SettingsError(f"{variable(name)}: {line}") from error
    recognizer.warm_up()
    return recognizer, version


def _translator(
    settings: Settings, remotes: Sequence[RemoteEngine]
) -> tuple[TextTranslator, TextIdentifier]:
    engines: list[TextEngine] = []
    names = {remote.name for remote in remotes} | {BergamotEngine.name}
    for directory in settings.translation_models:
        name, number = directory.name, 1
        while name in names:
            number += 1
            name = f"{directory.name}-{number}"
        names.add(name)
        try:
            engine = CTranslate2Engine(
                directory, name=name, device=settings.device, compute_type=settings.compute_type
            )
            engine.load()
        except ModelUnavailable as error:
            line = f"{variable('translation_models')}: {directory}: {error.message}"
            raise SettingsError(line) from error
        engines.append(engine)
    # The embedded engine comes last: who gives a model of their own wants it used.
    translator = TextTranslator(
        [*engines, BergamotEngine()], remotes, supervision=_supervision(settings)
    )
    translator.warm_up()
    return translator, _identifier(translator)


def _identifier(translator: TextTranslator) -> TextIdentifier:
    identifier = TextIdentifier({source for source, _ in translator.pairs})
    identifier.load()
    return identifier


def _supervision(settings: Settings) -> Supervision:
    return Supervision(
        longest=settings.model_timeout_seconds,
        factor=settings.model_timeout_factor,
        most_abandoned=settings.max_hung_calls,
    )
