"""Whether the models answer.

A model that has just done a job for somebody answers. One that did nothing for a while is asked
something small. If it does not answer in time, or with an error, it is taken not to answer until it
does, to whomever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from streaming.errors import SurtitleError

log = structlog.get_logger(__name__)

_AGAIN_SECONDS: Final = 5.0
"""Between questions to a model that does not answer."""
_DEAF_SECONDS: Final = 60.0
"""After which only a restart can help one that is needed."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One model, and how to ask it."""

    name: str
    ask: Callable[[int], Awaitable[object]]
    """Asks something small, under a number that is given once."""
    answered_at: Callable[[], float | None]
    """When it last did a job for anybody, in monotonic seconds."""
    needed: bool = True
    """Whether the server is of no use without it."""


class Vital:
    """What is known of one model. Pure: time is an argument."""

    def __init__(self, now: float) -> None:
        self.answered = now
        """When it answered last. It is taken to answer at first: it was warmed up."""
        self.failed: float | None = None
        """When it failed to last, if that is the last that is known."""
        self.failing_since: float | None = None
        self.seconds: float | None = None
        """How long the last answer to a question of ours took."""
        self.reason = ""

    def note_answer(self, at: float | None) -> None:
        """It answered somebody then."""
        if at is None or at <= self.answered:
            return
        self.answered = at
        if self.failed is not None and at > self.failed:
            self.failed = self.failing_since = None

    def note_success(self, now: float, seconds: float) -> None:
        """It answered us, in so many seconds."""
        self.answered, self.seconds = now, seconds
        self.failed = self.failing_since = None

    def note_failure(self, now: float, reason: str) -> None:
        """It did not answer us."""
        self.failed, self.reason = now, reason
        if self.failing_since is None:
            self.failing_since = now

    def due(self, now: float, interval: float) -> float:
        """Seconds until it is to be asked."""
        if self.failed is not None:
            return max(0.0, self.failed + min(interval, _AGAIN_SECONDS) - now)
        return max(0.0, self.answered + interval - now)


class Canary:
    """Asks the models that nobody else asks. ``interval`` 0: never."""

    def __init__(
        self,
        probes: Sequence[Probe],
        *,
        interval: float,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.timeout = timeout
        self._probes = tuple(probes)
        self._interval = interval
        self._clock = clock
        self._vitals = {probe.name: Vital(clock()) for probe in probes}
        self._asked = 0

    async def run(self) -> None:
        """Ask for ever."""
        if self._interval > 0:
            await asyncio.gather(*(self._watch(probe) for probe in self._probes))

    def vital(self, probe: Probe) -> Vital:
        """What is known of a model, up to this moment."""
        vital = self._vitals[probe.name]
        vital.note_answer(probe.answered_at())
        return vital

    @property
    def vitals(self) -> list[tuple[Probe, Vital]]:
        """What is known of all."""
        return [(probe, self.vital(probe)) for probe in self._probes]

    @property
    def answering(self) -> bool:
        """Whether all models answer that are needed."""
        return all(vital.failed is None for probe, vital in self.vitals if probe.needed)

    @property
    def deaf(self) -> bool:
        """Whether one that is needed has not answered for so long that it won't any more."""
        now = self._clock()
        return any(
            vital.failing_since is not None and now - vital.failing_since > _DEAF_SECONDS
            for probe, vital in self.vitals
            if probe.needed
        )

    async def ask(self, probe: Probe) -> None:
        """Ask one now."""
        self._asked += 1
        vital = self._vitals[probe.name]
        began = self._clock()
        try:
            async with asyncio.timeout(self.timeout):
                await probe.ask(self._asked)
        except TimeoutError:
            reason = f"{probe.name} did not answer within {self.timeout:g} s"
        except SurtitleError as error:
            reason = f"{probe.name} answered with {error.code}"
        else:
            if vital.failed is not None:
                log.info("a model answers again", model=probe.name)
            vital.note_success(self._clock(), self._clock() - began)
            return
        log.error("a model does not answer", model=probe.name, reason=reason)
        vital.note_failure(self._clock(), reason)

    async def _watch(self, probe: Probe) -> None:
        while True:
            due = self.vital(probe).due(self._clock(), self._interval)
            if due > 0:
                await asyncio.sleep(due)
            else:
                await self.ask(probe)
