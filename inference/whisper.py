"""The ``Recognizer`` port on Whisper, batched across sessions.

CTranslate2 is used directly: faster-whisper's own pipelines decode one recording at a time, with
one prompt and language. Of faster-whisper only the log-mel and the tokenizer are used.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Hashable
from dataclasses import replace
from pathlib import Path
from typing import Final

import ctranslate2
import psutil
from threadpoolctl import threadpool_limits

from inference.batching import BatchQueue
from inference.calibration import BATCHES, best_batch, timed
from inference.decoding import BUCKETS, bucket_for
from inference.dispatcher import Dispatcher, DispatcherStats
from inference.murmur import murmur
from inference.observing import BatchObserver
from inference.rows import Backend
from inference.supervision import Fault, Staff, Supervision
from inference.whisper_engine import WhisperEngine
from inference.whisper_rows import Row
from inference.whisper_tokens import WhisperTokens
from streaming.errors import (
    AudioTooLong,
    MediaError,
    PairUnsupported,
    RecognitionFailed,
    UnknownLanguage,
)
from streaming.types import SAMPLE_RATE, Audio, Hypothesis, Pressure, Priority, RecognitionJob

_LONGEST: Final = 30 * SAMPLE_RATE
_SILENT: Final = 1e-4
"""Samples no louder than this (-80 dBFS) are silence. Whisper, asked, says "you" or "Thank you"."""

BEAM: Final = 5
"""Hypotheses followed side by side: Whisper's own choice. On a CPU it takes a third longer than
greedy decoding."""

_CAREFUL_FINALS: Final = 0.2
_CAREFUL_PARTIALS: Final = 0.1
"""Seconds that finals may wait of late for one more to be decoded with a beam, or a partial."""

_RESERVE: Final = 0.25
"""Share of the workers' time that finals take from which one worker is kept for them."""
_TYPICAL: Final = 1000
"""Encoder length of a typical utterance."""
_CPU_BATCH: Final = 8
_GPU_BATCH: Final = 32
"""Rows of the largest batch that is tried."""
_GPU_REPLICAS: Final = 2
_NO_TRANSLATION: Final = ("turbo", "distil")
"""Marks of models that have the translate token but were not trained on translation."""
_MURMUR: Final = murmur(1.0)


def _group(row: Row) -> Hashable:
    return row.group


def _cost(row: Row) -> float:
    return row.bucket


def _length(row: Row) -> float:
    return len(row.job.audio) / SAMPLE_RATE


def _note_wait(row: Row, waited: float) -> None:
    row.waited = waited


def _superseded_by_newer(row: Row) -> Hashable | None:
    return None if row.priority is Priority.OFFLINE else (row.session, row.segment, row.job.task)


class WhisperRecognizer:
    """Whisper in CTranslate2's format, any size, English-only or multilingual.

    Made by :meth:`load`. Then ``warm_up`` in a thread, ``start``, and ``close`` at the end.
    """

    def __init__(
        self,
        engine: WhisperEngine,
        tokens: WhisperTokens,
        *,
        name: str,
        device: str,
        compute_type: str,
        replicas: int,
        max_batch: int | None,
        beam_size: int = BEAM,
        renew: Callable[[], WhisperEngine] | None = None,
        supervision: Supervision | None = None,
    ) -> None:
        self._engine = engine
        self._load_another = renew
        self._tokens = tokens
        self._name = name
        self.device = device
        self.compute_type = compute_type
        self.replicas = replicas
        self.max_batch = max_batch
        self.beam_size = beam_size
        self._final_seconds: float | None = None
        # One model serves all threads: the weights are shared, each call runs on a free replica.
        self._dispatcher: Dispatcher[Row, Hypothesis] = Dispatcher(
            name=f"whisper-{name}",
            backends=[engine] * replicas,
            queue=BatchQueue(group=_group, supersede_key=_superseded_by_newer, cost=_cost),
            max_batch=max_batch or 1,
            failure=RecognitionFailed,
            started=_note_wait,
            length=_length,
            reserve=_RESERVE,
            renew=self._renew,
            supervision=supervision,
        )

    @classmethod
    def load(
        cls,
        path: Path,
        *,
        name: str,
        device: str = "auto",
        compute_type: str = "default",
        replicas: int | None = None,
        threads: int | None = None,
        beam_size: int = BEAM,
        max_batch: int | None = None,
        supervision: Supervision | None = None,
    ) -> WhisperRecognizer:
        """Load the model in a directory. Blocking: takes from half a second to a minute.

        ``device`` is ``auto``, ``cpu`` or ``cuda``. ``compute_type`` is one of CTranslate2's;
        ``default`` is int8 on a CPU and float16 on a GPU. On a CPU there is a ``replica`` for each
        physical core, each with one of ``threads``: utterances are many and small, so they run
        beside each other rather than spread over the cores. ``beam_size`` is for as long as the
        load allows it; then decoding is greedy. Without ``max_batch`` rows run alone until
        ``warm_up`` has found how many should share a batch.

        Raises ``RuntimeError`` or ``ValueError`` when the model can't be loaded so.
        """
        if device == "auto":
            device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        cuda = device == "cuda"
        replicas = replicas or (_GPU_REPLICAS if cuda else physical_cores())

        def loaded(workers: int) -> ctranslate2.models.Whisper:
            return ctranslate2.models.Whisper(
                str(path),
                device=device,
                compute_type=_compute_type(device, compute_type),
                inter_threads=workers,
                intra_threads=threads or 1,
            )

        model = loaded(replicas)
        # A spectrogram's products are small, and BLAS's own threads spin for a while after each:
        # 100 ms of a core for 4 ms of work.
        threadpool_limits(1, user_api="blas")
        tokens = WhisperTokens(path, multilingual=model.is_multilingual)
        return cls(
            WhisperEngine(model, tokens),
            tokens,
            name=name,
            device=device,
            compute_type=model.compute_type,
            replicas=replicas,
            max_batch=max_batch,
            beam_size=beam_size,
            renew=lambda: WhisperEngine(loaded(1), tokens),
            supervision=supervision,
        )

    @property
    def model(self) -> str:
        """The model's name, as clients are told it."""
        return self._name

    @property
    def languages(self) -> frozenset[str]:
        """Codes of the languages that can be recognised."""
        return self._tokens.languages

    @property
    def translates(self) -> bool:
        """Whether speech of any language can be rendered in English."""
        trained = not any(mark in self._name.lower() for mark in _NO_TRANSLATION)
        return self._tokens.multilingual and trained

    @property
    def stats(self) -> DispatcherStats:
        """What waits and runs, and how long jobs waited."""
        return self._dispatcher.stats

    @property
    def staff(self) -> Staff:
        """The workers, and what became of them."""
        return self._dispatcher.staff

    @property
    def answered_at(self) -> float | None:
        """When a job was last done well, in monotonic seconds."""
        return self._dispatcher.answered_at

    async def probe(self, number: int) -> None:
        """Have something that sounds a little like speech recognised: raises what it raises.

        Probes have numbers of their own. What is heard in it does not matter, nor how sure it is.
        """
        job = RecognitionJob("probe", number, 1, _MURMUR, Priority.FINAL, language="en")
        row = self._row(job)
        row.probe = True
        await self._dispatcher.submit(row)

    @property
    def pressure(self) -> Pressure:
        """See the port."""
        pressure = self._dispatcher.pressure
        if self._final_seconds is None:
            return pressure
        return replace(pressure, final_seconds=self._final_seconds)

    def observe(self, observer: BatchObserver) -> None:
        """Have an observer told of each batch, in the worker's thread."""
        self._engine.observe = observer

    def warm_up(self) -> None:
        """Run the shortest and the longest context once, and measure: how long a final takes, and
        how many are best done together.

        Blocking, a few seconds: call it in a thread.
        """
        for bucket in (BUCKETS[0], BUCKETS[-1]):
            self._engine.warm(bucket)
        if self._final_seconds is None:
            self._final_seconds = timed(self.work, 1)
        if self.max_batch is None:
            most = _GPU_BATCH if self.device == "cuda" else _CPU_BATCH
            sizes = [size for size in BATCHES if size <= most]
            self.max_batch = self._dispatcher.max_batch = best_batch(
                self.work, self._final_seconds, sizes
            )

    def work(self, rows: int) -> None:
        """Do what a batch of finals takes, for measuring. Blocking."""
        self._engine.work(_TYPICAL, rows)

    def start(self) -> None:
        """Start the worker threads. Idempotent."""
        self._dispatcher.start()

    async def close(self) -> None:
        """Finish what runs, fail what waits, end the threads. Idempotent."""
        await self._dispatcher.close()

    async def recognize(self, job: RecognitionJob) -> Hypothesis:
        """Recognise one job's audio, at most 30 s. No audio is no text.

        Raises ``UnknownLanguage``, ``PairUnsupported`` (the model does not translate),
        ``AudioTooLong``, ``MediaError`` (samples that are no numbers), ``Superseded``,
        ``RecognitionFailed``, ``Overloaded`` and ``ModelUnavailable``.
        """
        if job.language is not None and job.language not in self.languages:
            raise UnknownLanguage(
                f"{self._name} does not know the language {job.language!r}.",
                languages=sorted(self.languages),
            )
        if job.task == "translate" and not self.translates:
            raise PairUnsupported(f"{self._name} does not translate speech.")
        if len(job.audio) > _LONGEST:
            raise AudioTooLong("At most 30 s of audio can be recognised at once.")
        if _loudest(job.audio) < _SILENT:
            language = job.language or job.language_hint or "en"
            words = () if job.words else None
            return Hypothesis("", language, confidence=0.0, no_speech_probability=1.0, words=words)
        return await self._dispatcher.submit(self._row(job))

    def _renew(self, backend: Backend[Row, Hypothesis], fault: Fault) -> Backend[Row, Hypothesis]:
        """A replica for a worker that takes another's place.

        One that hangs keeps a worker inside the library: what takes its place has weights of its
        own, and the others stay as they are.
        """
        if fault is Fault.HUNG and self._load_another is not None:
            engine = self._load_another()
            engine.observe = self._engine.observe
            engine.warm(BUCKETS[0])
            return engine
        return backend

    def _row(self, job: RecognitionJob) -> Row:
        return Row(
            job,
            bucket_for(len(job.audio), job.priority),
            self._tokens.prompt(job.vocabulary, job.prompt),
            self._beam(job.priority),
            favoured=len(self._tokens.prompt(job.vocabulary, "")),
        )

    def _beam(self, priority: Priority) -> int:
        """As much care as the load allows."""
        if priority is Priority.OFFLINE:
            return self.beam_size
        most = _CAREFUL_FINALS if priority is Priority.FINAL else _CAREFUL_PARTIALS
        return self.beam_size if self._dispatcher.pressure.wait <= most else 1


def _loudest(audio: Audio) -> float:
    """The largest magnitude, 0 for no audio. Raises ``MediaError`` for what is no sound."""
    if not len(audio):
        return 0.0
    loudest = max(float(audio.max()), -float(audio.min()))
    if not math.isfinite(loudest):
        raise MediaError("The audio has samples that are not finite numbers.")
    return loudest


def physical_cores() -> int:
    """Physical cores this process may use."""
    cores = psutil.cpu_count(logical=False) or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    return max(1, min(cores, allowed))


def _compute_type(device: str, wanted: str) -> str:
    """What ``default`` means: the fastest type that keeps the accuracy, where supported."""
    if wanted != "default":
        return wanted
    preferred = ("float16", "int8_float16", "float32") if device == "cuda" else ("int8", "float32")
    supported = ctranslate2.get_supported_compute_types(device)
    return next((kind for kind in preferred if kind in supported), "default")
