"""One run after another against one server, each watched from outside."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace

from bench.load.dialects import DIALECTS
from bench.load.generator import generate
from bench.load.loop_delay import LoopDelay
from bench.load.measure import Baseline, Figures, Group, figures, groups
from bench.load.plan import Idle, Plan, RunLog
from bench.load.schedule import Script, scripts
from bench.load.servers import Target
from bench.load.speech import Utterance, encoded, quiet
from bench.metrics import quantile, rounded
from bench.processes import Sample, Sampler, load, niceness

_REST = 5.0
"""Seconds between two runs, in which a server may recover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A run: what clients saw, by group, and what the machine did while they spoke."""

    log: RunLog
    groups: Mapping[str, Group]
    samples: Sequence[Sample]
    loop: Figures
    """The delay of the server's event loop, where it tells."""
    nice: int | None = None
    """The server's niceness, where it is known."""

    def row(self, group: str, baseline: Baseline | None = None) -> Figures:
        """The figures of one group, with those of the whole run."""
        log = self.log
        return {
            "group": group,
            **figures(self.groups[group], baseline),
            **load(self.speaking),
            "answer_p50": rounded(quantile(log.answers, 0.5), 3),
            "answer_p99": rounded(quantile(log.answers, 0.99), 3),
            "client_delay_p99": rounded(quantile(log.own_delays, 0.99), 3),
            "loop": self.loop,
            "server_nice": self.nice,
        }

    @property
    def speaking(self) -> list[Sample]:
        """The samples from when all speakers had begun until the first had ended."""
        spoke = [one for one in self.log.streams if one.began is not None]
        began = max((one.began or 0.0 for one in spoke), default=self.log.speaking)
        ended = min(
            ((one.began or 0.0) + one.script.seconds for one in spoke), default=self.log.ended
        )
        return [sample for sample in self.samples if began <= sample.time <= ended]


class Runs:
    """Runs against one server, with one pool of utterances."""

    def __init__(
        self, target: Target, pool: Sequence[Utterance], *, seconds: float, ramp: float, seed: int
    ) -> None:
        self.target = target
        self.pool = pool
        self.seconds = seconds
        self.seed = seed
        self.baseline: Baseline | None = None
        self._ramp = ramp
        self._lengths = [one.seconds for one in pool]
        encoding = DIALECTS[target.kind]().encoding
        self._frames = {encoding: [encoded(one.audio)[encoding] for one in pool]}
        self._quiet = {encoding: encoded(quiet())[encoding]}

    def scripts(
        self,
        count: int,
        *,
        group: str = "speaker",
        first: int = 0,
        after: float = 0.0,
        seconds: float | None = None,
        tenant: int = 0,
    ) -> list[Script]:
        """A group of speakers; see :func:`bench.load.schedule.scripts`."""
        return scripts(
            count,
            self._lengths,
            seconds=self.seconds if seconds is None else seconds,
            ramp=self._ramp if count > 1 else 0.0,
            seed=self.seed,
            first=first,
            after=after,
            group=group,
            tenant=tenant,
        )

    def run(
        self,
        chosen: Sequence[Script],
        *,
        idle: Idle | None = None,
        headers: Sequence[Mapping[str, str]] | None = None,
        target: Target | None = None,
    ) -> Outcome:
        """Play scripts, to another target if one is given. Blocking.

        ``headers`` are those of each tenant.
        """
        target = target or self.target
        plan = Plan(
            server=target.kind,
            url=target.url,
            health=target.health,
            headers=headers or [target.headers],
            frames=self._frames,
            quiet=self._quiet,
            scripts=chosen,
            idle=idle,
        )
        loop = LoopDelay(target)
        with ExitStack() as stack:
            executor = stack.enter_context(
                ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
            )
            clients = executor.submit(os.getpid).result()
            sampler = stack.enter_context(Sampler(target.pid, clients))
            loop.begin()
            log = executor.submit(generate, plan).result()
            told = loop.end()
        nice = niceness(target.pid) if target.pid is not None else None
        time.sleep(_REST)
        return Outcome(
            log=log,
            groups=groups(log, self.pool),
            samples=sampler.samples,
            loop=told,
            nice=nice,
        )

    def warm_up(self) -> None:
        """Speak one utterance, for servers that load their model for the first client."""
        (one,) = self.scripts(1, seconds=1.0)
        self.run([replace(one, lines=one.lines[:1])])

    def alone(self, seconds: float) -> Outcome:
        """One speaker, who says everything there is at least once: what others are compared to."""
        outcome = self.run(self.scripts(1, seconds=max(seconds, sum(self._lengths) - 1)))
        self.baseline = Baseline.of(outcome.groups["speaker"].heard)
        return outcome
