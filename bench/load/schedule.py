"""Who says what, and when. Pure and seeded: the same arguments give the same schedule."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SPEAKER = "speaker"


@dataclass(frozen=True, slots=True)
class Line:
    """An utterance of the pool and where in its stream it begins, in seconds."""

    utterance: int
    start: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One stream: when it connects, in seconds from the start of the run, and what it says."""

    stream: int
    offset: float
    lines: tuple[Line, ...]
    seconds: float
    """How long it speaks, the pause after the last utterance included."""
    group: str = SPEAKER
    """Streams of a group are reported together."""
    tenant: int = 0
    """Which of the run's keys it uses."""


def choose(lengths: Sequence[float], *, seconds: float, seed: int) -> list[int]:
    """Indices of utterances, drawn without replacement, that together last at least ``seconds``.

    All of them where there are not so many.
    """
    order = random.Random(seed).sample(range(len(lengths)), len(lengths))  # noqa: S311 - not a secret
    chosen: list[int] = []
    total = 0.0
    for index in order:
        if total >= seconds:
            break
        chosen.append(index)
        total += lengths[index]
    return chosen


def offsets(count: int, ramp: float) -> list[float]:
    """When each of ``count`` streams connects: evenly over the ramp, the first at 0."""
    return [number * ramp / count for number in range(count)]


def script(
    stream: int,
    lengths: Sequence[float],
    *,
    seconds: float,
    seed: int,
    offset: float = 0.0,
    group: str = SPEAKER,
    tenant: int = 0,
) -> Script:
    """What a stream says: the whole pool in an order of its own, again and again.

    ``lengths`` are those of the pool's utterances with the pause after each. A stream ends with
    the utterance in which ``seconds`` are over. Raises ``ValueError`` without a pool.
    """
    if not lengths:
        raise ValueError("there is nothing to say")
    chance = random.Random(f"{seed} {stream}")  # noqa: S311 - not a secret
    lines: list[Line] = []
    at = 0.0
    while at < seconds:
        for utterance in chance.sample(range(len(lengths)), len(lengths)):
            if at >= seconds:
                break
            lines.append(Line(utterance, at))
            at += lengths[utterance]
    return Script(
        stream=stream,
        offset=offset,
        lines=tuple(lines),
        seconds=at,
        group=group,
        tenant=tenant,
    )


def scripts(
    count: int,
    lengths: Sequence[float],
    *,
    seconds: float,
    ramp: float,
    seed: int,
    first: int = 0,
    after: float = 0.0,
    group: str = SPEAKER,
    tenant: int = 0,
) -> list[Script]:
    """A group of streams, numbered from ``first``. The ramp begins at ``after``.

    All fall silent at about the same time, ``seconds`` after the last has begun, so that between
    the end of the ramp and then all of them are speaking.
    """
    starts = offsets(count, ramp)
    end = ramp + seconds
    return [
        script(
            first + number,
            lengths,
            seconds=end - start,
            seed=seed,
            offset=after + start,
            group=group,
            tenant=tenant,
        )
        for number, start in enumerate(starts)
    ]


def largest(holds: Callable[[int], bool], *, limit: int) -> int:
    """The largest number up to ``limit`` that holds, where every number below one that does holds.

    0 if not even 1 does. Doubles, then halves the gap, so that few are tried.
    """
    low, high = 0, 1
    while high <= limit and holds(high):
        low, high = high, 2 * high
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low
