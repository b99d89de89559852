"""Text to text over any number of engines: the ``Translator`` port.

A pair no engine does goes through English. Engines see sentences, one dispatcher each; whitespace
and lines between sentences are kept as they were, and sentences seen before come from memory.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from inference.batching import BatchQueue
from inference.dispatcher import Dispatcher, DispatcherStats
from inference.engine import Recoverable, Sentence, TextEngine
from inference.languages import canonical, name_of
from inference.rows import Backend, Reloadable
from inference.sentences import split
from inference.supervision import Fault, Staff, Supervision
from streaming.errors import ModelUnavailable, PairUnsupported, SurtitleError, TranslationFailed
from streaming.types import Priority, Route, Translation, TranslationJob

_PIVOT: Final = "en"
_CHUNK: Final = 8
"""Sentences in one job. A long text is many jobs, so that live captions get in between."""


@dataclass(frozen=True, slots=True)
class _Work:
    """Part of a translation job on its way through one engine: what the queue schedules."""

    session: str
    segment: int
    revision: int
    priority: Priority
    tenant: str
    weight: float
    target: str
    part: int
    """Which part of the job's text, at which hop: the parts don't supersede each other."""
    sentences: tuple[Sentence, ...]


def _lane(work: _Work) -> Hashable:
    return work.session, work.segment, work.target, work.part


def _superseded_by_part(work: _Work) -> Hashable:
    return _lane(work) if work.priority is Priority.PARTIAL else None


def _any_batch(_work: _Work) -> Hashable:
    return None


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Sentences asked for since the start that were, or were not, in memory; and those in it."""

    hits: int
    misses: int
    size: int


@dataclass(frozen=True, slots=True)
class TranslatorStats:
    """What is going on, by engine name."""

    engines: Mapping[str, DispatcherStats]
    cache: CacheStats


class _Memory:
    """The last sentences translated (least recently used go first). Used on the loop only."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[tuple[str, Sentence], str] = OrderedDict()
        self._hits = self._misses = 0

    def get(self, version: str, sentence: Sentence) -> str | None:
        key = version, sentence
        text = self._known.get(key)
        if text is None:
            self._misses += 1
        else:
            self._hits += 1
            self._known.move_to_end(key)
        return text

    def put(self, version: str, sentence: Sentence, text: str) -> None:
        key = version, sentence
        self._known[key] = text
        self._known.move_to_end(key)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def clear(self) -> None:
        self._known.clear()

    @property
    def stats(self) -> CacheStats:
        return CacheStats(self._hits, self._misses, len(self._known))


class _Backend:
    """One replica of an engine, as the dispatcher sees it."""

    def __init__(self, engine: TextEngine) -> None:
        self._engine = engine

    def run(self, jobs: Sequence[_Work]) -> Sequence[list[str] | SurtitleError]:
        # The same sentence in several jobs (rooms, repeated partials) is done once.
        wanted = list(dict.fromkeys(one for job in jobs for one in job.sentences))
        done = dict(zip(wanted, self._engine.translate(wanted), strict=True))
        return [[done[one] for one in job.sentences] for job in jobs]

    def reload(self) -> bool:
        return isinstance(self._engine, Reloadable) and self._engine.reload()

    def renewed(self, _old: Backend[_Work, list[str]], fault: Fault) -> _Backend:
        """The same engine, made fit for use although a call hangs in it."""
        if fault is Fault.HUNG and isinstance(self._engine, Recoverable):
            self._engine.recover()
        return self


class TextTranslator:
    """Routes texts to engines; earlier engines are preferred for a pair several do.

    ``capacity`` bounds the jobs waiting for each engine (``Overloaded`` beyond), ``remembered``
    the sentences kept. Languages are canonical codes; other spellings of them are understood.
    """

    def __init__(
        self,
        engines: Sequence[TextEngine],
        *,
        capacity: int = 512,
        remembered: int = 10_000,
        supervision: Supervision | None = None,
    ) -> None:
        names = [engine.name for engine in engines]
        if len(set(names)) < len(names):
            raise ValueError(f"engines need names of their own: {names}")
        self._engines = tuple(engines)
        self._direct: dict[tuple[str, str], TextEngine] = {}
        for engine in engines:
            for pair in engine.pairs:
                self._direct.setdefault(pair, engine)
        self._pairs = frozenset(self._direct) | _pivots(self._direct)
        self._memory = _Memory(remembered)
        self._closed = False
        self._dispatchers: dict[str, Dispatcher[_Work, list[str]]] = {
            engine.name: Dispatcher(
                name=f"translate-{engine.name}",
                backends=[_Backend(engine) for _ in range(engine.replicas)],
                queue=BatchQueue(
                    group=_any_batch,
                    supersede_key=_superseded_by_part,
                    lane=_lane,
                    capacity=capacity,
                    patience=0.0,
                ),
                max_batch=engine.max_batch,
                failure=TranslationFailed,
                renew=_Backend(engine).renewed,
                supervision=supervision,
            )
            for engine in engines
        }

    @property
    def pairs(self) -> frozenset[tuple[str, str]]:
        """(source, target) pairs, those through English included."""
        return self._pairs

    def route(self, source: str, target: str) -> Route | None:
        """How a pair is served, or None if it is not."""
        hops = self._hops(source, target)
        if hops is None:
            return None
        if not hops:
            return Route(source, target, "identity", "identity")
        engine = "+".join(engine.name for engine, _, _ in hops)
        return Route(source, target, "direct" if len(hops) == 1 else "pivot", engine)

    def warm_up(self) -> None:
        """Load all engines: blocking. Raises ``ModelUnavailable``."""
        for engine in self._engines:
            engine.load()

    def start(self) -> None:
        """Start the workers. Idempotent."""
        for dispatcher in self._dispatchers.values():
            dispatcher.start()

    async def translate(self, job: TranslationJob) -> Translation:
        """Translate one text. Blank text yields blank text, and the same language the same text.

        Raises ``PairUnsupported``, ``TranslationFailed``, ``Superseded``, ``Overloaded`` or
        ``ModelUnavailable``.
        """
        source, target = canonical(job.source) or job.source, canonical(job.target) or job.target
        hops = self._hops(source, target)
        if hops is None:
            raise self._unsupported(source, target)
        if self._closed:
            raise ModelUnavailable("The translator has stopped.")
        if not hops:
            return Translation(job.text, "identity")
        text = job.text
        for number, (engine, start, end) in enumerate(hops):
            text = await self._hop(job, engine, text, (start, end), number)
        return Translation(text, "+".join(engine.name for engine, _, _ in hops))

    @property
    def staff(self) -> Mapping[str, Staff]:
        """The workers by engine name, and what became of them. Cheap."""
        return {name: one.staff for name, one in self._dispatchers.items()}

    def answered_at(self, name: str) -> float | None:
        """When an engine last did a job well, in monotonic seconds."""
        return self._dispatchers[name].answered_at

    async def probe(self, name: str, number: int) -> None:
        """Have an engine translate a word, whatever is in memory: raises what it raises.

        Probes have numbers of their own.
        """
        engine = next(engine for engine in self._engines if engine.name == name)
        source, target = min(engine.pairs)
        job = TranslationJob(
            session="probe",
            segment=number,
            revision=0,
            text="1.",
            source=source,
            target=target,
            priority=Priority.FINAL,
        )
        await self._run(job, engine, [Sentence(job.text, source, target)], 0)

    def forget(self) -> None:
        """Empty the memory of sentences."""
        self._memory.clear()

    async def close(self) -> None:
        """Finish what runs, refuse what waits, free the engines. Idempotent."""
        self._closed = True
        await asyncio.gather(*(dispatcher.close() for dispatcher in self._dispatchers.values()))
        for engine in self._engines:
            await asyncio.to_thread(engine.close)

    @property
    def stats(self) -> TranslatorStats:
        return TranslatorStats(
            engines={name: one.stats for name, one in self._dispatchers.items()},
            cache=self._memory.stats,
        )

    def _hops(self, source: str, target: str) -> list[tuple[TextEngine, str, str]] | None:
        if source == target:
            return []
        if engine := self._direct.get((source, target)):
            return [(engine, source, target)]
        first, second = self._direct.get((source, _PIVOT)), self._direct.get((_PIVOT, target))
        if first and second:
            return [(first, source, _PIVOT), (second, _PIVOT, target)]
        return None

    async def _hop(
        self,
        job: TranslationJob,
        engine: TextEngine,
        text: str,
        pair: tuple[str, str],
        number: int,
    ) -> str:
        source, target = pair
        # Splitting is Python over the whole text: a book would hold up the loop.
        long = len(text) > 10 * engine.max_chars
        parts = (
            await asyncio.to_thread(split, text, source, engine.max_chars)
            if long
            else split(text, source, engine.max_chars)
        )
        # What was shown is in the last hop's language; of several sentences nobody knows whose.
        last = target == (canonical(job.target) or job.target)
        steered = engine.steerable and last and len(parts.sentences) == 1
        prefix = job.prefix if steered else ""
        wanted = [Sentence(sentence, source, target, prefix) for sentence in parts.sentences]
        known = {one: self._memory.get(engine.version, one) for one in dict.fromkeys(wanted)}
        missing = [one for one, found in known.items() if found is None]
        for chunk, done in zip(
            _chunks(missing), await self._run(job, engine, missing, number), strict=True
        ):
            for one, translated in zip(chunk, done, strict=True):
                if not one.prefix:  # nobody will ask for the same once more
                    self._memory.put(engine.version, one, translated)
                known[one] = translated
        return parts.join([known[one] or "" for one in wanted], target)

    async def _run(
        self, job: TranslationJob, engine: TextEngine, sentences: Sequence[Sentence], hop: int
    ) -> list[list[str]]:
        """Translate the chunks of ``sentences``: as many at once as the engine has replicas, so
        that a long text neither fills the queue nor waits for itself.
        """
        dispatcher = self._dispatchers[engine.name]
        gate = asyncio.Semaphore(engine.replicas)

        async def one(number: int, chunk: tuple[Sentence, ...]) -> list[str]:
            async with gate:
                return await dispatcher.submit(
                    _Work(
                        session=job.session,
                        segment=job.segment,
                        revision=job.revision,
                        priority=job.priority,
                        tenant=job.tenant,
                        weight=job.weight,
                        target=job.target,
                        part=2 * number + hop,
                        sentences=chunk,
                    )
                )

        tasks = [
            asyncio.ensure_future(one(number, chunk))
            for number, chunk in enumerate(_chunks(sentences))
        ]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:  # one that failed or was cancelled takes the others along
                task.cancel()

    def _unsupported(self, source: str, target: str) -> PairUnsupported:
        targets = sorted({end for start, end in self._pairs if start == source})
        sources = sorted({start for start, end in self._pairs if end == target})
        message = f"Nothing here translates {_shown(source)} to {_shown(target)}."
        if targets:
            message += f" {_shown(source)} can be translated to: {', '.join(targets)}."
        if sources:
            message += f" {_shown(target)} can be reached from: {', '.join(sources)}."
        return PairUnsupported(
            message, source=source, target=target, targets=targets, sources=sources
        )


def _pivots(direct: Mapping[tuple[str, str], TextEngine]) -> frozenset[tuple[str, str]]:
    into = [source for source, target in direct if target == _PIVOT]
    out_of = [target for source, target in direct if source == _PIVOT]
    return frozenset((a, b) for a in into for b in out_of if a != b)


def _chunks(sentences: Sequence[Sentence]) -> list[tuple[Sentence, ...]]:
    return [tuple(sentences[i : i + _CHUNK]) for i in range(0, len(sentences), _CHUNK)]


def _shown(code: str) -> str:
    return f"{name_of(code)} ({code})" if canonical(code) else code
