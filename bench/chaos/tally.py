"""A soak in numbers. Pure."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from bench.chaos.compare import Difference, Span, compare, doubled, right, unlike
from bench.chaos.record import Heard, Interruption, Record
from bench.chaos.speech import Speech
from bench.metrics import quantile, rounded

References = Sequence[Sequence[Sequence[Heard]]]
"""For each speech, the finals of each session in which nothing broke."""

_ANNOUNCED = frozenset({"draining"})
"""Errors that tell a client to go on elsewhere, which it does."""

_BEFORE: Final = 45.0
_AFTER: Final = 30.0
"""Seconds around an utterance in which faults may have to do with it: a call may hang as long."""


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault, and when it struck, in monotonic seconds."""

    fault: str
    at: float


@dataclass(frozen=True, slots=True)
class Told:
    """One session: which of the speeches, and what came of it."""

    speech: int
    record: Record
    given_up: bool = False
    """Whether its speaker stopped waiting."""


def tally(
    told: Sequence[Told],
    struck: Sequence[Struck],
    speeches: Sequence[Speech],
    references: References,
) -> dict[str, Any]:
    """What the page shows."""
    differences: list[Difference] = []
    wrong: list[str] = []
    known: list[bool] = []
    errors: Counter[str] = Counter()
    for one in told:
        speech = speeches[one.speech]
        runs = references[one.speech]
        found = compare(runs, one.record.finals, speech.spans)
        differences += found
        known += right(runs, one.record.finals, speech.spans, speech.texts)
        wrong += unlike(
            f"speech {one.speech}",
            speech.spans,
            (runs[0], one.record.finals),
            [not difference.alike for difference in found],
            partial(_meanwhile, one.record, struck),
        )
        errors += Counter(
            {code: n for code, n in one.record.errors.items() if code not in _ANNOUNCED}
        )
        errors["given up"] += one.given_up
    records = [one.record for one in told]
    interruptions = [each for record in records for each in record.interruptions]
    text = sum(differences, Difference())
    count = len(differences)
    return {
        "sessions": len(told),
        "utterances": count,
        "correct_share": _share(count - len(wrong), count),
        "alike_word_for_word": _share(
            sum(one.lost + one.added + one.changed == 0 for one in differences), count
        ),
        "wrong": wrong,
        "known": len(known),
        "right_share": _share(sum(known), len(known)),
        "words": text.words,
        "lost": text.lost,
        "added": text.added,
        "changed": text.changed,
        "doubled": sum(len(doubled(record.finals)) for record in records),
        "errors": dict(+errors),
        "error_rate": _share(errors.total(), count),
        "warnings": dict(sum((record.warnings for record in records), Counter())),
        "refused": dict(sum((record.refused for record in records), Counter())),
        "broken_promises": [what for record in records for what in record.broken_promises],
        "anew": sum(record.anew for record in records),
        "interruptions": len(interruptions),
        **_recovery(interruptions),
        "recovery_p95": rounded(_quantile(interruptions, 0.95)),
        "struck": len(struck),
        "faults": by_fault(struck, interruptions),
    }


def _meanwhile(record: Record, struck: Sequence[Struck], span: Span) -> str:
    """What struck and what was told from shortly before an utterance until shortly after it."""
    if record.began is None:
        return ""
    since, until = record.began + span.start - _BEFORE, record.began + span.end + _AFTER
    events = [
        *((one.at, one.fault) for one in struck),
        *((one.at, f"error {one.code}") for one in record.failures),
    ]
    told = [
        f"{at - record.began:.1f} s: {what}" for at, what in sorted(events) if since < at < until
    ]
    return f" ({', '.join(told)})" if told else ""


def by_fault(
    struck: Sequence[Struck], interruptions: Sequence[Interruption]
) -> list[Mapping[str, Any]]:
    """Interruptions by the fault that struck last before each."""
    times = [one.at for one in struck]
    caused: dict[str, list[Interruption]] = {one.fault: [] for one in struck}
    for interruption in interruptions:
        before = bisect_right(times, interruption.lost)
        if before:
            caused[struck[before - 1].fault].append(interruption)
    often = Counter(one.fault for one in struck)
    return [
        {
            "fault": fault,
            "times": often[fault],
            "interruptions": len(found),
            **_recovery(found),
        }
        for fault, found in sorted(caused.items())
    ]


def _recovery(interruptions: Sequence[Interruption]) -> dict[str, float | None]:
    return {
        "recovery_p50": rounded(_quantile(interruptions, 0.5)),
        "recovery_max": rounded(_quantile(interruptions, 1.0)),
    }


def _quantile(interruptions: Sequence[Interruption], q: float) -> float | None:
    seconds = [one.seconds for one in interruptions]
    found = quantile(seconds, q)
    return None if found is None or math.isinf(found) else found


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan
