"""The results: one JSON file that later runs add to, and a page made from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

Section = dict[str, Any]
"""What one scenario showed of one server: ``server``, ``scenario``, ``taken``, ``machine``,
``pool``, ``seconds``, ``variables``, ``rows`` and ``verdict``.
"""

_NAMES: Final[Mapping[str, str]] = {
    "surtitle": "Surtitle",
    "whisperlive": "WhisperLive 0.10.0",
    "whisperlive-batch": "WhisperLive 0.10.0, batch mode",
    "whisperlivekit": "WhisperLiveKit 0.2.26, LocalAgreement",
}
_SPEAKERS: Final = ("find", "speakers")
_ORDER: Final = (*_SPEAKERS, "idle", "muted", "overload", "tenants", "soak")
_TITLES: Final = {
    "idle": "Idle sessions that send sound",
    "muted": "Idle sessions that send keepalives",
    "overload": "Overload",
    "tenants": "A flood from one key",
    "soak": "Soak",
}
_LEADING: Final = {
    "idle": (("speakers", "speakers"), ("idle sessions", "idle")),
    "muted": (("speakers", "speakers"), ("idle sessions", "idle")),
    "overload": (("streams", "group"),),
    "tenants": (("streams", "group"),),
    "soak": (("speakers", "speakers"),),
}
_WAITS: Final = (
    ("final p50", "final_lag_p50"),
    ("p95", "final_lag_p95"),
    ("p99", "final_lag_p99"),
    ("max", "final_lag_max"),
    ("first text p50", "first_text_p50"),
    ("p95", "first_text_p95"),
    ("WER %", "wer"),
    ("to one speaker", "wer_change"),
    ("erasure", "erasure"),
)
_WORK: Final = (
    ("answers p50 / p99, ms", "answers"),
    ("loop p99, ms", "loop_p99"),
    ("server, cores", "server_cores"),
    ("clients", "client_cores"),
    ("others", "others"),
    ("niced by", "niced_by"),
    ("MiB", "memory_max_mib"),
)
_BUSY: Final = 0.3
"""Cores of unrelated programs beside which a measurement says little."""
_METHOD: Final = """\
## How it is measured

Each client plays English recordings over a WebSocket in real time, in frames of 40 ms, with 1.2
s of the recording's own noise floor after each, in an order of its own drawn from one pool.
Sessions begin staggered, and fall silent together; delays count from when all have begun. The
clients run in a process of their own. The server is a process of its own, started as an
operator starts it.

- *Final*: from the last speech of an utterance (Silero over the whole recording) to the last of
  its final text, in seconds. Which utterance a text is of is told by its words, so that the
  servers' own times don't matter. Final is a `final` event of Surtitle, a segment that is
  `completed` of WhisperLive, and text in `lines` of WhisperLiveKit.
- *First text*: from an utterance's first speech to its first word on screen.
- *Missed*: utterances of which not one word became final.
- *WER* is pooled over all streams, over text normalised as Whisper's own evaluation does; *to
  one speaker* compares with the same utterances spoken to the server by one speaker alone, in
  points.
- *Erasure*: words taken back for each word of the last texts (arXiv 1912.03393).
- *Answers*: how long `/health/simple` took meanwhile; *loop* is what the server says of its
  event loop.
- *Cores* are processor seconds a second. *Others* is what unrelated programs took meanwhile: where
  it is bold they took so much that the row is but a bound, the more so if the server was *niced*.
- Held is a number of speakers with p95 of *final* ≤ 1 s, nothing missed, refused or broken, and
  WER at most 1 point above one speaker's.

WhisperLive completes a segment only when later speech or seconds of silence follow; text that
it shows before that may still change. WhisperLiveKit was measured with LocalAgreement, since
its default policy needs weights in another format. After the last word both are sent silence
until they say nothing new.
"""


def merged(sections: Sequence[Section], new: Iterable[Section]) -> list[Section]:
    """Sections with some of them replaced by newer ones of the same server and scenario."""
    kept = {(one["server"], one["scenario"]): one for one in [*sections, *new]}
    servers = list(_NAMES)
    return sorted(
        kept.values(),
        key=lambda one: (_ORDER.index(one["scenario"]), servers.index(one["server"])),
    )


def publish(new: Iterable[Section], out: Path, name: str = "load") -> str:
    """Add to the results in a folder, and make the page anew."""
    file = out / f"{name}.json"
    before = msgspec.json.decode(file.read_bytes()) if file.exists() else []
    sections = merged(before, new)
    out.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(sections), indent=2) + b"\n")
    text = page(sections)
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    return text


def page(sections: Sequence[Section]) -> str:
    """All results."""
    parts = ["# Many speakers at once", ""]
    speaking = [one for one in sections if one["scenario"] in _SPEAKERS]
    if speaking:
        rows = [{"server": _NAMES[one["server"]], **row} for one in speaking for row in one["rows"]]
        rows.sort(key=lambda row: row["speakers"])
        leading = (("speakers", "speakers"), ("server", "server"))
        parts += ["## Speakers", "", _table(rows, leading), *map(_found, speaking)]
    for one in sections:
        if one["scenario"] not in _SPEAKERS:
            title = f"## {_TITLES[one['scenario']]}"
            title += f": {_NAMES[one['server']]}" if one["server"] != "surtitle" else ""
            table = _table(one["rows"], _LEADING[one["scenario"]])
            parts += [title, "", table, _verdict(one["verdict"]), ""]
    parts += [_METHOD, "## On what", "", *map(_circumstances, sections)]
    return "\n".join(parts).rstrip() + "\n"


def _found(section: Section) -> str:
    verdict = section["verdict"]
    if "found" not in verdict:
        return ""
    name = _NAMES[section["server"]]
    beyond = "; ".join(verdict["limited_by"]) or "more was not tried"
    held = f"{name} holds **{verdict['found']}** speakers"
    return f"{held} (one more: {beyond}).\n"


def _verdict(verdict: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in verdict.items() if name != "memory"}
    return "\n".join(f"- {name.replace('_', ' ')}: {_cell(value)}" for name, value in shown.items())


def _circumstances(section: Section) -> str:
    host, pool = section["machine"], section["pool"]
    what = f"{_NAMES[section['server']]}, {section['scenario']}"
    variables = " ".join(f"`{key}={value}`" for key, value in section["variables"].items())
    return (
        f"- {what}: {section['taken']}, {host['cpu']}, {host['cores']} cores, "
        f"model {section['model']}; {section['seconds']:.0f} s of {pool['utterances']} utterances "
        f"({pool['seconds']:.0f} s, seed {pool['seed']}), WER offline {pool['wer_offline']:.2f} %"
        + (f"; {variables}" if variables else "")
        + "."
    )


def _table(rows: Sequence[Mapping[str, Any]], leading: Sequence[tuple[str, str]]) -> str:
    """The columns that there is something in."""
    told = [{**row, **_derived(row)} for row in rows]
    columns = [*leading, *_WAITS, ("missed", "missed_of"), ("said", "said"), *_WORK]
    shown = [(head, key) for head, key in columns if any(_there(row.get(key)) for row in told)]
    lines = [_line(head for head, _ in shown), "|" + "---|" * len(shown)]
    lines += [_line(_cell(row.get(key)) for _, key in shown) for row in told]
    return "\n".join([*lines, ""])


def _derived(row: Mapping[str, Any]) -> dict[str, Any]:
    loops = [value for name, value in row["loop"].items() if "p99" in name]
    answers = [row["answer_p50"], row["answer_p99"]]
    said = {**row["refused"], **row["broken"], **row["notices"]}
    return {
        "missed_of": f"{row['missed']} of {row['utterances']}",
        "said": ", ".join(f"{count} × {what}" for what, count in said.items()),
        "loop_p99": round(1000 * loops[0], 1) if loops else None,
        "others": _neighbours(row.get("other_cores")),
        "niced_by": row.get("server_nice") or None,
        "answers": None if None in answers else "{:.0f} / {:.0f}".format(*_ms(answers)),
    }


def _neighbours(cores: float | None) -> str | None:
    if cores is None:
        return None
    return f"**{cores:.2f}**" if cores > _BUSY else f"{cores:.2f}"


def _ms(values: Iterable[float]) -> list[float]:
    return [1000 * value for value in values]


def _there(value: Any) -> bool:
    return value is not None and value != ""


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: Any) -> str:
    match value:
        case None | "":
            return "–"
        case float():
            return f"{value:.2f}"
        case dict():
            return ", ".join(f"{count} × {what}" for what, count in value.items()) or "none"
        case _:
            return str(value)
