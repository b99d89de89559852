"""From measurements to a verdict: ok, degraded or critical, and why.

The first half is pure. :class:`Reporter` asks, and never makes anybody wait for long: every check
has its own time, all run at once, and whoever asks within a second is given the same report.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import structlog

log = structlog.get_logger(__name__)

State = Literal["ok", "degraded", "critical"]
_RANK: Final[Mapping[State, int]] = {"ok": 0, "degraded": 1, "critical": 2}

Thresholds = tuple[float, float]
"""From which value on something is degraded, and from which on critical."""

FRESH_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one thing. ``reason`` says in words why it is not ok."""

    name: str
    status: State
    reason: str | None = None
    value: float | None = None
    unit: str | None = None
    warn: float | None = None
    critical: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """All checks, and what they come to: as bad as the worst of them."""

    status: State
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]


def grade(value: float, thresholds: Thresholds) -> State:
    """How bad a value is. What is no number is as bad as can be."""
    warn, critical = thresholds
    if value < warn:
        return "ok"
    return "degraded" if value < critical else "critical"


def measured(name: str, value: float, unit: str, thresholds: Thresholds, reason: str) -> Check:
    """A value against its thresholds. ``reason`` is what is said where it is not ok."""
    status = grade(value, thresholds)
    return Check(
        name,
        status,
        None if status == "ok" else reason,
        value=round(value, 4),
        unit=unit,
        warn=thresholds[0],
        critical=thresholds[1],
    )


def stated(name: str, status: State, reason: str) -> Check:
    """Something that either is or is not so. ``reason`` is what is said where it is not ok."""
    return Check(name, status, None if status == "ok" else reason)


def summed_up(checks: Sequence[Check]) -> Report:
    """As bad as the worst, with the reasons, the worst first."""
    ranked = sorted(checks, key=lambda check: -_RANK[check.status])
    return Report(
        status=max((check.status for check in checks), key=_RANK.__getitem__, default="ok"),
        reasons=tuple(check.reason or check.name for check in ranked if check.status != "ok"),
        checks=tuple(checks),
    )


Ask = Callable[[], Awaitable[Iterable[Check]]]


class Reporter:
    """Runs checks, by their names, and keeps the report for a second."""

    def __init__(
        self,
        asks: Mapping[str, Ask],
        *,
        timeout: float = TIMEOUT_SECONDS,
        fresh: float = FRESH_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._asks = dict(asks)
        self._timeout = timeout
        self._fresh = fresh
        self._clock = clock
        self._known: tuple[float, Report] | None = None
        self._running: asyncio.Task[Report] | None = None

    async def report(self) -> Report:
        """How things are, or were a moment ago."""
        if self._known is not None and self._clock() - self._known[0] < self._fresh:
            return self._known[1]
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._ask_all(), name="check health")
        # Whoever goes away takes the answer from nobody else.
        return await asyncio.shield(self._running)

    def forget(self) -> None:
        """Ask anew the next time: something is known to have changed."""
        self._known = None

    async def _ask_all(self) -> Report:
        found = await asyncio.gather(*(self._ask(name, ask) for name, ask in self._asks.items()))
        report = summed_up([check for checks in found for check in checks])
        self._known = self._clock(), report
        return report

    async def _ask(self, name: str, ask: Ask) -> Sequence[Check]:
        try:
            async with asyncio.timeout(self._timeout):
                return tuple(await ask())
        except TimeoutError:
            reason = f"{name} was not to be found out within {self._timeout:g} s"
        except Exception as error:
            log.exception("a health check failed", check=name)
            reason = f"{name} could not be found out ({type(error).__name__})"
        return (Check(name, "critical", reason),)
