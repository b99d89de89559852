"""The way to one translation engine, here or elsewhere: its queue, and how wide it is."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import cast

from inference.batching import BatchQueue
from inference.dispatcher import Dispatcher
from inference.engine import Recoverable, RemoteEngine, Sentence, TextEngine
from inference.remote_dispatcher import RemoteDispatcher
from inference.routing import First, Pair
from inference.rows import Backend, Reloadable
from inference.supervision import Fault, Supervision
from streaming.errors import SurtitleError, TranslationFailed
from streaming.types import Priority


@dataclass(frozen=True, slots=True)
class Work:
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


def _lane(work: Work) -> Hashable:
    return work.session, work.segment, work.target, work.part


def _superseded_by_part(work: Work) -> Hashable:
    return _lane(work) if work.priority is Priority.PARTIAL else None


def _any_batch(_work: Work) -> Hashable:
    return None


class _Backend:
    """One replica of an engine, as the dispatcher sees it."""

    def __init__(self, engine: TextEngine) -> None:
        self._engine = engine

    def run(self, jobs: Sequence[Work]) -> Sequence[list[str] | SurtitleError]:
        wanted = _distinct(jobs)
        done = dict(zip(wanted, self._engine.translate(wanted), strict=True))
        return [[done[one] for one in job.sentences] for job in jobs]

    def reload(self) -> bool:
        return isinstance(self._engine, Reloadable) and self._engine.reload()

    def renewed(self, _old: Backend[Work, list[str]], fault: Fault) -> _Backend:
        """The same engine, made fit for use although a call hangs in it."""
        if fault is Fault.HUNG and isinstance(self._engine, Recoverable):
            self._engine.recover()
        return self


@dataclass(frozen=True, slots=True, eq=False)
class Lane:
    """An engine and the way to it."""

    engine: TextEngine | RemoteEngine
    dispatcher: Dispatcher[Work, list[str]] | RemoteDispatcher[Work, list[str]]
    width: int
    """Jobs that it can do at once with profit."""
    remote: bool = False
    first: First = False
    steerable: bool = False

    @property
    def workers(self) -> Dispatcher[Work, list[str]] | None:
        """Those of an engine in this process."""
        return self.dispatcher if isinstance(self.dispatcher, Dispatcher) else None

    @property
    def available(self) -> bool:
        """Whether it is worth asking now. Always true of what is here."""
        return not self.remote or cast("RemoteEngine", self.engine).available

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def pairs(self) -> frozenset[Pair]:
        return self.engine.pairs


def _queue(capacity: int) -> BatchQueue[Work]:
    return BatchQueue(
        group=_any_batch,
        supersede_key=_superseded_by_part,
        lane=_lane,
        capacity=capacity,
        patience=0.0,
    )


def lane_here(engine: TextEngine, capacity: int, supervision: Supervision | None = None) -> Lane:
    """The lane of an engine in this process; ``capacity`` bounds the jobs that wait."""
    dispatcher: Dispatcher[Work, list[str]] = Dispatcher(
        name=f"translate-{engine.name}",
        backends=[_Backend(engine) for _ in range(engine.replicas)],
        queue=_queue(capacity),
        max_batch=engine.max_batch,
        failure=TranslationFailed,
        renew=_Backend(engine).renewed,
        supervision=supervision,
    )
    return Lane(engine, dispatcher, engine.replicas, steerable=engine.steerable)


def lane_elsewhere(remote: RemoteEngine, capacity: int) -> Lane:
    """The lane of an engine elsewhere."""

    async def run(jobs: Sequence[Work]) -> list[list[str]]:
        wanted = _distinct(jobs)
        done = dict(zip(wanted, await remote.translate(wanted), strict=True))
        return [[done[one] for one in job.sentences] for job in jobs]

    dispatcher: RemoteDispatcher[Work, list[str]] = RemoteDispatcher(
        name=f"translate-{remote.name}",
        run=run,
        queue=_queue(capacity),
        max_batch=remote.max_batch,
        at_once=remote.at_once,
        failure=TranslationFailed,
    )
    return Lane(remote, dispatcher, remote.at_once, remote=True, first=remote.first)


def _distinct(jobs: Sequence[Work]) -> list[Sentence]:
    """The sentences of some jobs: what is in several (rooms, repeated partials) is done once."""
    return list(dict.fromkeys(one for job in jobs for one in job.sentences))
