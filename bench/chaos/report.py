"""The results: JSON, and a page made from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.chaos.leaks import MEMORY
from bench.chaos.stage import Outcome
from bench.metrics import rounded

_METHOD: Final = f"""\
## How it is measured

Real servers (processes of their own, with their real models) on a real Redis. Recordings of English
speech are played live over WebSockets, with 1.2 s of their own noise floor after each, and
translated into Portuguese. Clients keep what they have said and resume by their token, as
`surtitle stream` and the demo page do. A fault strikes when every client has had its first final.
Nothing in the product helps to break it: servers are killed by signals, the network is a proxy that
drops what it should forward, and what goes wrong in a model is put before it by the program that
starts the server.

- The reference is what the same servers make of the same audio when nothing goes wrong: several
  such runs, of which the nearest counts, utterance by utterance. *Lost* are words that are gone
  with nothing in their place, *added* are words that there were not, *changed* are others. Words
  are compared as Whisper's own evaluation does.
- Random faults strike recordings that the model hears right when it reads each alone and whole:
  others are heard in many ways even if nothing breaks. Before the faults one of the runs has
  everything decoded greedily, as busy servers do, and the same speakers speak as they do
  afterwards, for some minutes without a fault. How often such an undisturbed session differs from
  all others is told, too, and so are the recordings heard right in all of them.
- *Correct* is an utterance of which at most one word in seven, or one word, is lost, added or
  changed: what is decoded beside other streams may differ by a word without any fault.
- *Doubled* are finals of audio that was final already.
- *Recovery*: from when a client lost its connection until its session went on, the longest.
- *Latest final*: from the end of an utterance until it was final, the longest; in brackets without
  a fault.
- *Left*: sessions, leases, tasks, threads, files, or more than {MEMORY:g} MiB of memory that a
  server still held afterwards and had not before. It is looked at again until there is nothing,
  for a minute.
"""

_SOAK: Final = """\
{minutes:g} minutes, {streams} speakers at a time, {struck} faults, seed {seed}{plain}:

- {utterances} utterances, of which **{correct}** are final and correct, and {word_for_word} word
  for word as in an undisturbed run
{right}{calm}\
- words: {lost} of {words} lost, {added} added, {changed} changed; {doubled} doubled finals
- errors that clients were told, and speakers that gave up, by utterances: **{rate}** ({told})
- {sessions} sessions, {interruptions} interruptions; until the session went on p50 {p50} s, p95
  {p95} s, longest {longest} s; {anew} could not be resumed
- left: {remains}
"""


def publish(out: Path, **new: Any) -> str:
    """Add to the results in a folder, and make the page anew."""
    file = out / "chaos.json"
    results = msgspec.json.decode(file.read_bytes()) if file.exists() else {}
    results |= {name: value for name, value in new.items() if value is not None}
    out.mkdir(parents=True, exist_ok=True)
    file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    text = page(results)
    (out / "chaos.md").write_text(text, encoding="utf-8")
    return text


def row(outcome: Outcome) -> dict[str, Any]:
    """A fault as it is kept."""
    return {
        "fault": outcome.fault,
        "streams": outcome.streams,
        "words": outcome.text.words,
        "lost": outcome.text.lost,
        "added": outcome.text.added,
        "changed": outcome.text.changed,
        "wrong": outcome.wrong,
        "doubled": outcome.doubled,
        "saw": dict(outcome.saw),
        "anew": outcome.anew,
        "recovery": _finite(outcome.recovery),
        "latest": rounded(outcome.latest),
        "undisturbed_latest": rounded(outcome.undisturbed_latest),
        "broken_promises": outcome.broken_promises,
        "left": outcome.left,
        "details": outcome.details,
    }


def page(results: Mapping[str, Any]) -> str:
    """All results."""
    parts = ["# Broken on purpose", ""]
    if "faults" in results:
        parts += ["## One fault at a time", "", _faults(results["faults"]["rows"]), ""]
        parts += [_circumstances(results["faults"]), ""]
    if "soak" in results:
        parts += ["## One after the other", "", _soak(results["soak"]), ""]
        parts += [_circumstances(results["soak"]), ""]
    return "\n".join([*parts, _METHOD])


def _faults(rows: Sequence[Mapping[str, Any]]) -> str:
    head = (
        "fault",
        "what clients saw",
        "recovery, s",
        "latest final, s",
        "lost words",
        "added",
        "changed",
        "doubled finals",
        "left",
    )
    lines = [_line(head), "|" + "---|" * len(head)]
    lines += [
        _line(
            (
                one["fault"],
                _counted(one["saw"]) or "nothing",
                _seconds(one["recovery"]),
                f"{_seconds(one['latest'])} ({_seconds(one['undisturbed_latest'])})",
                f"{one['lost']} of {one['words']}",
                str(one["added"]),
                str(one["changed"]),
                str(one["doubled"]),
                _counted(one["left"]) or "nothing",
            )
        )
        for one in rows
    ]
    return "\n".join(lines)


def _soak(soak: Mapping[str, Any]) -> str:
    told = _SOAK.format_map(
        {
            **soak,
            "plain": _plain(soak),
            "right": _right(soak),
            "calm": _calm(soak.get("calm") or {}),
            "correct": f"{soak['correct_share']:.2%}",
            "word_for_word": f"{soak['alike_word_for_word']:.2%}",
            "rate": f"{soak['error_rate']:.2%}",
            "told": _counted(soak["errors"]) or "none",
            "p50": _seconds(soak["recovery_p50"]),
            "p95": _seconds(soak["recovery_p95"]),
            "longest": _seconds(soak["recovery_max"]),
            "remains": _counted(soak["left"]) or "nothing",
        }
    )
    head = ("fault", "times", "interruptions", "recovery p50, s", "longest, s")
    lines = [told, _line(head), "|" + "---|" * len(head)]
    lines += [
        _line(
            (
                one["fault"],
                str(one["times"]),
                str(one["interruptions"]),
                _seconds(one["recovery_p50"]),
                _seconds(one["recovery_max"]),
            )
        )
        for one in soak["faults"]
    ]
    return "\n".join(lines)


def _plain(soak: Mapping[str, Any]) -> str:
    if "recordings" not in soak:
        return ""
    chosen = f"{soak['recordings']} of {soak['recordings_tried']} recordings"
    return (
        f". What they\nspeak is drawn from {chosen}: those that the model hears word for word as "
        "a\nperson wrote them down, reading each alone and whole"
    )


def _right(soak: Mapping[str, Any]) -> str:
    if not soak.get("known"):
        return ""
    return (
        f"- {soak['known']} of them are of recordings that were heard as a person wrote them down "
        f"whenever nothing\n  broke: **{soak['right_share']:.2%}** were so here, too\n"
    )


def _calm(calm: Mapping[str, Any]) -> str:
    if not calm.get("utterances"):
        return ""
    share = 1 - len(calm["wrong"]) / calm["utterances"]
    return (
        f"- before that, {calm['minutes']:g} minutes without a fault: {calm['utterances']} "
        f"utterances, of which\n  {share:.2%} are correct by the same measure, each session "
        "compared with the others\n"
    )


def _circumstances(section: Mapping[str, Any]) -> str:
    host = section["machine"]
    return (
        f"{section['taken']}, {host['cpu']}, {host['cores']} cores, "
        f"CTranslate2 {host['ctranslate2']}, Whisper base.{section.get('note', '')}"
    )


def _counted(counts: Mapping[str, float]) -> str:
    return ", ".join(f"{count:g} × {what}" for what, count in sorted(counts.items()))


def _finite(seconds: float) -> float | None:
    return rounded(seconds) if math.isfinite(seconds) else None


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
