"""The models the settings ask for, loaded and warm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from app.settings import Settings, SettingsError, variable
from inference.bergamot import BergamotEngine
from inference.ct2_translation import CTranslate2Engine
from inference.dispatcher import DispatcherStats
from inference.engine import TextEngine
from inference.identification import TextIdentifier
from inference.languages import Languages
from inference.models import ModelStore, ModelStoreError
from inference.observing import BatchObserver
from inference.silero import SileroDetector
from inference.translator import CacheStats, TextTranslator
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

    def stats(self) -> Mapping[str, DispatcherStats]:
        """The workers' counters, by what they do."""
        engines = self.translator.stats.engines
        return {
            "speech": self.recognizer.stats,
            **{f"translation:{name}": stats for name, stats in engines.items()},
        }

    def observe(self, observer: BatchObserver) -> None:
        """Have an observer told of each batch of speech, in the worker's thread."""
        self.recognizer.observe(observer)

    def caches(self) -> Mapping[str, CacheStats]:
        """What the models remember, by what it is."""
        return {"sentences": self.translator.stats.cache}

    async def close(self) -> None:
        """End the workers, those first that others' results go to. Idempotent."""
        await self.recognizer.close()
        await self.translator.close()
        await self.detector.close()


async def build_models(settings: Settings, progress: Progress) -> Models:
    """Load and warm all models, side by side in threads; one line of progress for each.

    Raises :class:`~app.settings.SettingsError` when one can't be had as the settings want it, so
    that the line names what to change.
    """
    recognizer, detector, (translator, identifier) = await asyncio.gather(
        _timed(f"speech model {settings.asr_model}", progress, lambda: _recognizer(settings)),
        _timed("voice activity", progress, SileroDetector.load),
        _timed("translation", progress, lambda: _translator(settings)),
    )
    for part in (detector, translator, recognizer):
        part.start()
    return Models(
        recognizer=recognizer,
        detector=detector,
        translator=translator,
        languages=Languages(
            speech=recognizer.languages,
            speech_to_english=recognizer.translates,
            text_pairs=translator.pairs,
            text_route=translator.route,
        ),
        identify=identifier.identify,
    )


async def _timed(what: str, progress: Progress, load: Callable[[], T]) -> T:
    started = time.monotonic()
    loaded = await asyncio.to_thread(load)
    progress(f"{what} … {time.monotonic() - started:.1f} s")
    return loaded


def _recognizer(settings: Settings) -> WhisperRecognizer:
    try:
        model = ModelStore(settings.data_dir).speech(settings.asr_model)
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
        )
    except (RuntimeError, ValueError) as error:
        name = "compute_type" if "compute type" in str(error) else "device"
        line = " ".join(str(error).split())
        raise SettingsError(f"{variable(name)}: {line}") from error
    recognizer.warm_up()
    return recognizer


def _translator(settings: Settings) -> tuple[TextTranslator, TextIdentifier]:
    engines: list[TextEngine] = []
    names: set[str] = set()
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
    translator = TextTranslator([*engines, BergamotEngine()])
    translator.warm_up()
    identifier = TextIdentifier({source for source, _ in translator.pairs})
    identifier.load()
    return translator, identifier
