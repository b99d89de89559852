"""What is tried on a server. Each scenario returns its rows and what follows from them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx

from bench.load.measure import Figures, Group, shortcomings
from bench.load.plan import SECONDS, Idle
from bench.load.runs import Outcome, Runs
from bench.load.schedule import largest
from bench.load.servers import bare
from bench.load.speech import encoded, quiet
from bench.metrics import quantile, rounded
from bench.processes import Sample, slope

_NEWCOMERS_AFTER: Final = 1 / 3
"""After which part of a run an overload begins."""
_SLICE: Final = 10.0
"""Seconds of a run that are looked at together, to see what changes."""
_STREAMS_A_KEY: Final = 100
_SPOKEN: Final = 280.0
"""Seconds of speech below which the 95th percentile is that of a few utterances."""
_WARM: Final = 0.2
"""Part of a soak in which memory may still grow: caches fill, pools reach their size."""


@dataclass(slots=True)
class Result:
    """One scenario: a row for each run and group, and what they say together."""

    rows: list[Figures]
    verdict: Figures = field(default_factory=dict)


def speakers(runs: Runs, counts: Sequence[int]) -> Result:
    """So many speakers at once, one number after the other."""
    return Result([_with(runs, count, runs.seconds) for count in counts])


def find(runs: Runs, *, limit: int) -> Result:
    """The largest number of speakers that is held; see ``shortcomings``."""
    rows: dict[int, Figures] = {}

    def holds(count: int) -> bool:
        # The fewer speak, the longer they have to.
        rows[count] = _with(runs, count, max(runs.seconds, _SPOKEN / count))
        return not rows[count]["shortcomings"]

    found = largest(holds, limit=limit)
    beyond = rows.get(found + 1)
    return Result(
        [rows[count] for count in sorted(rows)],
        {"found": found, "limited_by": beyond["shortcomings"] if beyond else []},
    )


def _with(runs: Runs, count: int, seconds: float) -> Figures:
    alone = count == 1
    outcome = runs.alone(seconds) if alone else runs.run(runs.scripts(count, seconds=seconds))
    row = outcome.row("speaker", runs.baseline)
    row = {"speakers": count, **row, "shortcomings": shortcomings(row)}
    say(row)
    return row


def idle(runs: Runs, count: int, *, speaking: int, keepalive: bool, folder: Path) -> Result:
    """Many sessions that say nothing, and a few that speak. ``folder`` is for a log."""
    every = 20.0 if keepalive else 6 * SECONDS
    sound = b"".join(encoded(quiet(every))["s16"]) if not keepalive else '{"type": "keepalive"}'
    # One key may have only so many streams at once.
    tenants = -(-count // _STREAMS_A_KEY)
    headers = [_headers(_issue(runs, f"load-{number}")) for number in range(tenants)]
    crowd = Idle(
        count=count, ramp=count / 100, settle=5.0, every=every, message=sound, tenants=tenants
    )
    few = runs.run(runs.scripts(speaking), headers=headers)
    many = runs.run(runs.scripts(speaking), headers=headers, idle=crowd)
    rows = [
        {"speakers": speaking, "idle": 0, **few.row("speaker", runs.baseline)},
        {"speakers": speaking, "idle": count, **many.row("speaker", runs.baseline)},
    ]
    for row in rows:
        say(row)
    verdict: Figures = {
        "idle": count,
        "sends": "keepalives" if keepalive else f"quiet sound every {every:.2f} s",
        "connected": many.log.idle_connected,
        "lost": many.log.idle_lost,
        "final_lag_p95": rows[1]["final_lag_p95"],
    }
    if runs.target.pid is not None:
        verdict["kib_per_idle_session"] = _each(many)
        with bare(folder) as target:
            verdict["kib_per_bare_socket"] = _each(
                runs.run([], headers=headers, idle=crowd, target=target)
            )
    return Result(rows, verdict)


def _each(outcome: Outcome) -> float | None:
    """KiB that each idle session added to the server's memory."""
    log = outcome.log
    before = _memory(outcome.samples, log.began - 1, log.began + 1)
    after = _memory(outcome.samples, log.speaking - 3, log.speaking)
    if before is None or after is None or not log.idle_connected:
        return None
    return rounded((after - before) * 1024 / log.idle_connected, 1)


def overload(runs: Runs, capacity: int) -> Result:
    """As many newcomers as there are speakers, when a server is at its capacity."""
    later = runs.seconds * _NEWCOMERS_AFTER
    first = runs.scripts(capacity, group="first")
    newcomers = runs.scripts(
        capacity, group="newcomer", first=capacity, after=later, seconds=runs.seconds - later
    )
    outcome = runs.run([*first, *newcomers])
    rows = [
        {
            "speakers": 2 * capacity,
            **outcome.row(group, runs.baseline),
            "over_time": over_time(outcome.groups[group]),
        }
        for group in outcome.groups
    ]
    for row in rows:
        say(row)
    return Result(
        rows,
        {
            "capacity": capacity,
            "newcomers": capacity,
            "refused": rows[1]["refused"],
            "final_lag_max": max(
                (row["final_lag_max"] for row in rows if row["final_lag_max"] is not None),
                default=None,
            ),
            "missed": sum(row["missed"] for row in rows),
        },
    )


def soak(runs: Runs, capacity: int, minutes: float) -> Result:
    """A server at its capacity for a long time: what its memory does."""
    outcome = runs.run(runs.scripts(capacity, seconds=60 * minutes))
    row = {
        "speakers": capacity,
        **outcome.row("speaker", runs.baseline),
        "over_time": over_time(outcome.groups["speaker"], 60.0),
    }
    say(row)
    return Result([row], {"minutes": minutes, **_memory_over_time(outcome)})


def _memory_over_time(outcome: Outcome) -> Figures:
    samples = outcome.speaking
    if not samples:
        return {}
    began = samples[0].time
    span = samples[-1].time - began
    points = [((one.time - began) / 3600, one.memory) for one in samples]
    late = [point for point in points if point[0] * 3600 >= _WARM * span]
    step = max(1, len(samples) // 40)
    return {
        "mib_at_start": rounded(points[0][1], 1),
        "mib_at_end": rounded(points[-1][1], 1),
        "mib_per_hour": rounded(slope(late), 1),
        "memory": [[round(hours * 60, 1), round(mib, 1)] for hours, mib in points[::step]],
    }


def tenants(runs: Runs, *, speaking: int, flood: int) -> Result:
    """A few speakers of one key, alone and beside a flood from another key."""
    headers = [_headers(_issue(runs, f"load-{name}")) for name in ("polite", "flood")]
    alone = runs.run(runs.scripts(speaking, group="alone"), headers=headers)
    beside = runs.run(
        [
            *runs.scripts(speaking, group="beside the flood"),
            *runs.scripts(flood, group="flood", first=speaking, tenant=1),
        ],
        headers=headers,
    )
    rows = [
        {"speakers": speaking, **alone.row("alone", runs.baseline)},
        {"speakers": speaking, **beside.row("beside the flood", runs.baseline)},
        {"speakers": flood, **beside.row("flood", runs.baseline)},
    ]
    for row in rows:
        say(row)
    return Result(
        rows,
        {
            f"lag_ratio_{at}": _ratio(rows[1][f"final_lag_{at}"], rows[0][f"final_lag_{at}"])
            for at in ("p50", "p95")
        },
    )


def _issue(runs: Runs, user: str) -> str:
    """A new key. The bench's own must be an administrator's. Raises ``httpx.HTTPError``."""
    target = runs.target
    if target.http is None:
        raise ValueError("keys are made over HTTP: only Surtitle has them")
    answer = httpx.post(
        f"{target.http}/auth/api-key",
        headers=target.headers,
        json={"user_id": user, "tier": "enterprise", "name": "bench.load"},
        timeout=30,
    )
    answer.raise_for_status()
    return str(answer.json()["api_key"])


def _headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def over_time(group: Group, every: float = _SLICE) -> list[dict[str, Any]]:
    """The lag of what was said in each stretch of a run."""
    slices: dict[int, list[float | None]] = {}
    for one in group.heard:
        slices.setdefault(int(one.at // every), []).append(one.final_lag)
    return [
        {
            "from": number * every,
            "utterances": len(lags),
            "missed": lags.count(None),
            "p50": rounded(quantile([lag for lag in lags if lag is not None], 0.5)),
            "max": rounded(max((lag for lag in lags if lag is not None), default=None)),
        }
        for number, lags in sorted(slices.items())
    ]


def _memory(samples: Sequence[Sample], began: float, ended: float) -> float | None:
    return quantile([one.memory for one in samples if began <= one.time <= ended], 0.5)


def _ratio(part: float | None, whole: float | None) -> float | None:
    return rounded(part / whole) if part is not None and whole else None


def say(row: Figures) -> None:
    """Tell how it goes, while it goes."""
    shown = ("speakers", "idle", "group", "final_lag_p50", "final_lag_p95", "wer", "missed")
    parts = [f"{name} {row[name]}" for name in shown if name in row]
    refused = sum(row["refused"].values())
    parts += [f"refused {refused}"] if refused else []
    parts += row.get("shortcomings", [])
    print("; ".join(parts), file=sys.stderr, flush=True)
