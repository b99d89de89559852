"""Text to text over any number of engines, here and elsewhere: the ``Translator`` port.

A pair no engine does goes through English; where an engine fails, the next best takes its place.
Engines see sentences, one dispatcher each; whitespace and lines between sentences are kept as they
were, and sentences seen before come from memory.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from inference.concurrency import together
from inference.dispatcher import DispatcherStats
from inference.engine import RemoteEngine, Sentence, TextEngine
from inference.lanes import Lane, Work, lane_elsewhere, lane_here
from inference.languages import canonical, name_of
from inference.memory import CacheStats, SentenceMemory
from inference.outages import Outages
from inference.routing import Hop, Pair, Plan, Router
from inference.sentences import split
from inference.supervision import Staff, Supervision
from streaming.errors import (
    ModelUnavailable,
    Overloaded,
    PairUnsupported,
    SurtitleError,
    TranslationFailed,
)
from streaming.types import Priority, Route, RouteKind, Translation, TranslationJob

_CHUNK: Final = 8
"""Sentences in one job. A long text is many jobs, so that live captions get in between."""


@dataclass(frozen=True, slots=True)
class TranslatorStats:
    """What is going on, by engine name."""

    engines: Mapping[str, DispatcherStats]
    cache: CacheStats
    outages: int
    """Times since the start that another engine had to take over a pair."""


class TextTranslator:
    """Routes texts to engines; earlier engines are preferred for a pair several do.

    ``remotes`` are engines elsewhere. ``capacity`` bounds the jobs waiting for each engine
    (``Overloaded`` beyond), ``remembered`` the sentences kept. Languages are canonical codes; other
    spellings of them are understood. ``clock`` gives monotonic seconds.
    """

    def __init__(
        self,
        engines: Sequence[TextEngine],
        remotes: Sequence[RemoteEngine] = (),
        *,
        capacity: int = 512,
        remembered: int = 10_000,
        supervision: Supervision | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engines = tuple(engines)
        self._remotes = tuple(remotes)
        self._lanes = [lane_here(engine, capacity, supervision) for engine in engines]
        self._lanes += [lane_elsewhere(remote, capacity) for remote in remotes]
        names = [lane.name for lane in self._lanes]
        if len(set(names)) < len(names):
            raise ValueError(f"engines need names of their own: {names}")
        self._router = Router(self._lanes)
        self._outages = Outages(clock)
        self._memory = SentenceMemory(remembered)
        self._version = self._versions()
        self._closed = False

    @property
    def version(self) -> str:
        """See the port."""
        return self._version

    @property
    def pairs(self) -> frozenset[Pair]:
        """(source, target) pairs, those through English included."""
        return self._router.pairs

    def route(self, source: str, target: str) -> Route | None:
        """How a pair is served while all engines work, or None if it is not."""
        if source == target:
            return Route(source, target, "identity", "identity")
        plans = self._router.plans(source, target)
        if not plans:
            return None
        kind: RouteKind = "direct" if len(plans[0]) == 1 else "pivot"
        return Route(source, target, kind, _named(plans[0]))

    def available(self, source: str, target: str) -> bool:
        """Whether some engine for a pair is worth asking now."""
        return source == target or any(map(_ready, self._router.plans(source, target)))

    def warm_up(self) -> None:
        """Load all engines of this process: blocking. Raises ``ModelUnavailable``."""
        for engine in self._engines:
            engine.load()

    def start(self) -> None:
        """Start the workers. Idempotent."""
        for lane in self._lanes:
            lane.dispatcher.start()

    async def refresh(self) -> bool:
        """Ask the engines elsewhere what they do; whether all of them answered."""
        found = await asyncio.gather(
            *(remote.refresh() for remote in self._remotes), return_exceptions=True
        )
        failed = [error for error in found if error is not None]
        for error in failed:
            if not isinstance(error, ModelUnavailable):
                raise error
        self._router.refresh()
        self._version = self._versions()
        return not failed

    async def translate(self, job: TranslationJob) -> Translation:
        """Translate one text. Blank text yields blank text, and the same language the same text.

        Raises ``PairUnsupported``, ``TranslationFailed``, ``Superseded``, ``Overloaded`` or
        ``ModelUnavailable``.
        """
        pair = canonical(job.source) or job.source, canonical(job.target) or job.target
        plans = self._router.plans(*pair)
        if not plans and pair[0] != pair[1]:
            raise self._unsupported(*pair)
        if self._closed:
            raise ModelUnavailable("The translator has stopped.")
        if pair[0] == pair[1]:
            return Translation(job.text, "identity")
        failure: SurtitleError | None = None
        broken = not _ready(plans[0])
        for plan in filter(_ready, plans):
            try:
                text = await self._follow(job, plan)
            except Overloaded as error:
                failure = failure or error
            except (TranslationFailed, ModelUnavailable) as error:
                failure = failure or error
                broken = True
            else:
                if plan is plans[0]:
                    self._outages.worked(pair)
                outage = self._outages.failed(pair) if broken else 0
                return Translation(text, _named(plan), outage)
        raise failure or ModelUnavailable(
            f"What translates {_shown(pair[0])} to {_shown(pair[1])} does not answer just now.",
            retry_after=1.0,
        )

    @property
    def staff(self) -> Mapping[str, Staff]:
        """The workers here by engine name, and what became of them. Cheap."""
        return {lane.name: lane.workers.staff for lane in self._lanes if lane.workers}

    def answered_at(self, name: str) -> float | None:
        """When an engine here last did a job well, in monotonic seconds."""
        workers = self._here(name).workers
        return None if workers is None else workers.answered_at

    async def probe(self, name: str, number: int) -> None:
        """Have an engine here translate a word, whatever is in memory: raises what it raises.

        Probes have numbers of their own.
        """
        lane = self._here(name)
        source, target = min(lane.pairs)
        job = TranslationJob(
            session="probe",
            segment=number,
            revision=0,
            text="1.",
            source=source,
            target=target,
            priority=Priority.FINAL,
        )
        await self._run(job, lane, [(Sentence(job.text, source, target),)], 0)

    def _here(self, name: str) -> Lane:
        return next(lane for lane in self._lanes if lane.workers and lane.name == name)

    def forget(self) -> None:
        """Empty the memory of sentences."""
        self._memory.clear()

    async def close(self) -> None:
        """Finish what runs, refuse what waits, free the engines. Idempotent."""
        self._closed = True
        await asyncio.gather(*(lane.dispatcher.close() for lane in self._lanes))
        for engine in self._engines:
            await asyncio.to_thread(engine.close)
        for remote in self._remotes:
            await remote.close()

    @property
    def stats(self) -> TranslatorStats:
        return TranslatorStats(
            engines={lane.name: lane.dispatcher.stats for lane in self._lanes},
            cache=self._memory.stats,
            outages=self._outages.count,
        )

    def _versions(self) -> str:
        """What a translation depends on: which engines, in which order, for which pairs."""
        facts = [(lane.engine.version, lane.first, sorted(lane.pairs)) for lane in self._lanes]
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    async def _follow(self, job: TranslationJob, plan: Plan[Lane]) -> str:
        text = job.text
        for number, hop in enumerate(plan):
            # What was shown is in the last hop's language.
            prefix = job.prefix if number == len(plan) - 1 else ""
            text = await self._hop(job, hop, text, prefix, number)
        return text

    async def _hop(
        self, job: TranslationJob, hop: Hop[Lane], text: str, prefix: str, number: int
    ) -> str:
        lane, source, target = hop
        limit, version = lane.engine.max_chars, lane.engine.version
        # Splitting is Python over the whole text: a book would hold up the loop.
        long = len(text) > 10 * limit
        parts = (
            await asyncio.to_thread(split, text, source, limit)
            if long
            else split(text, source, limit)
        )
        # Of several sentences nobody knows whose it is.
        steered = prefix if lane.steerable and len(parts.sentences) == 1 else ""
        wanted = [Sentence(sentence, source, target, steered) for sentence in parts.sentences]
        known = {one: self._memory.get(version, one) for one in dict.fromkeys(wanted)}
        chunks = _chunks([one for one, found in known.items() if found is None])
        for chunk, done in zip(chunks, await self._run(job, lane, chunks, number), strict=True):
            for one, translated in zip(chunk, done, strict=True):
                if not one.prefix:  # nobody will ask for the same once more
                    self._memory.put(version, one, translated)
                known[one] = translated
        return parts.join([known[one] or "" for one in wanted], target)

    async def _run(
        self, job: TranslationJob, lane: Lane, chunks: Sequence[tuple[Sentence, ...]], hop: int
    ) -> list[list[str]]:
        """Translate chunks of sentences: as many at once as the engine is wide, so that a long
        text neither fills the queue nor waits for itself.
        """
        gate = asyncio.Semaphore(lane.width)

        async def one(number: int, chunk: tuple[Sentence, ...]) -> list[str]:
            async with gate:
                return await lane.dispatcher.submit(
                    Work(
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

        return await together(one(number, chunk) for number, chunk in enumerate(chunks))

    def _unsupported(self, source: str, target: str) -> PairUnsupported:
        targets = sorted({end for start, end in self._router.pairs if start == source})
        sources = sorted({start for start, end in self._router.pairs if end == target})
        message = f"Nothing here translates {_shown(source)} to {_shown(target)}."
        if targets:
            message += f" {_shown(source)} can be translated to: {', '.join(targets)}."
        if sources:
            message += f" {_shown(target)} can be reached from: {', '.join(sources)}."
        return PairUnsupported(
            message, source=source, target=target, targets=targets, sources=sources
        )


def _ready(plan: Plan[Lane]) -> bool:
    return all(hop.engine.available for hop in plan)


def _named(plan: Plan[Lane]) -> str:
    return "+".join(hop.engine.name for hop in plan)


def _chunks(sentences: Sequence[Sentence]) -> list[tuple[Sentence, ...]]:
    return [tuple(sentences[i : i + _CHUNK]) for i in range(0, len(sentences), _CHUNK)]


def _shown(code: str) -> str:
    return f"{name_of(code)} ({code})" if canonical(code) else code
