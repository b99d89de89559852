"""A process that replays clips: the server's models, one replica, one thread."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from multiprocessing import util
from pathlib import Path
from typing import Any

from app.models import Models, build_models
from app.settings import Settings
from bench.machine import EncoderMeter
from bench.quality.offline import OfflineReader
from bench.quality.records import Record, note
from bench.quality.sets import Item
from bench.quality.sounds import with_tail
from bench.quality.translation import reference
from bench.quality.variants import Variant, patched
from bench.replay import Simulation
from inference.audio import PyAVContainerDecoder
from inference.models import ModelStore
from streaming import driver
from streaming.types import SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Task:
    """One clip in one variant."""

    variant: Variant
    item: Item


@dataclass(slots=True)
class _Loaded:
    """Models as some settings want them."""

    models: Models
    meter: EncoderMeter
    offline: OfflineReader


@dataclass(slots=True)
class _Worker:
    cache: Path
    runner: asyncio.Runner = field(default_factory=asyncio.Runner)
    loaded: dict[str, _Loaded] = field(default_factory=dict)

    def load(self, settings: dict[str, Any]) -> _Loaded:
        key = repr(sorted(settings.items()))
        if key not in self.loaded:
            wanted = Settings.model_validate(
                {
                    "data_dir": self.cache / "data",
                    "asr_replicas": 1,
                    "asr_threads": 1,
                    "device": "cpu",
                    **settings,
                }
            )
            models = self.runner.run(build_models(wanted, lambda _: None))
            store = ModelStore(wanted.data_dir)
            self.loaded[key] = _Loaded(
                models,
                EncoderMeter(models.recognizer._engine),  # noqa: SLF001 - measured inside
                OfflineReader(
                    store.speech(wanted.asr_model).path,
                    models.recognizer.model,
                    models.recognizer.compute_type,
                    self.cache / "offline",
                ),
            )
        return self.loaded[key]

    def close(self) -> None:
        """End the threads in order: two native runtimes in one process are touchy about exits."""
        for loaded in self.loaded.values():
            self.runner.run(loaded.models.close())
        self.loaded.clear()
        self.runner.close()


_worker: list[_Worker] = []


def begin(cache: Path) -> None:
    """Make this process a worker."""
    # Settings here are the variant's alone; a developer's own .env is not what is measured.
    Settings.model_config["env_file"] = None
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)
    worker = _Worker(cache)
    _worker.append(worker)
    # Before the interpreter begins to shut down, when threads can still be waited for.
    util.Finalize(None, worker.close, exitpriority=10)


def measure(task: Task) -> Record:
    """Replay one clip."""
    (worker,) = _worker
    loaded = worker.load(task.variant.under("settings"))
    return worker.runner.run(_measure(task, loaded))


async def _measure(task: Task, loaded: _Loaded) -> Record:
    item, variant, models = task.item, task.variant, loaded.models
    clip = item.clip
    audio = item.audio()
    language = None if clip.lang == "none" else clip.lang
    offline = await loaded.offline.read(audio, language, models.detector)
    models.translator.forget()
    with patched(models.recognizer, variant):
        simulation = Simulation(
            driver.Models(
                recognizer=models.recognizer,
                translator=models.translator,
                detector=models.detector,
                open_container=PyAVContainerDecoder,
            ),
            models.languages,
            config=variant.config(),
            encoder=lambda: loaded.meter.seconds,
            **variant.under("simulation"),
        )
        start = {
            "source": language or "auto",
            "targets": list(item.targets),
            **variant.under("start"),
        }
        replay = await simulation.run(with_tail(audio), **start)
    references = {
        target: await reference(offline.words, clip.lang, target, models.translator)
        for target in item.targets
    }
    return note(variant.name, item, len(audio) / SAMPLE_RATE, replay, offline, references)
