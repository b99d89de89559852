"""The figures as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.quality.summary import STAGES, Figures

Column = tuple[str, str]

_WORDS: tuple[Column, ...] = (
    ("clips", "clips"),
    ("min", "minutes"),
    ("words", "words"),
    ("streamed", "wer_streamed"),
    ("offline", "wer_offline"),
    ("difference", "wer_difference"),
    ("95 % of it", "wer_difference_interval"),
    ("in another language", "wrong_language"),
)
_DELAYS: tuple[Column, ...] = (
    ("first shown p50", "first_shown_p50"),
    ("first shown p95", "first_shown_p95"),
    ("stable p50", "committed_p50"),
    ("stable p95", "committed_p95"),
    ("words found", "aligned"),
    ("final p50", "final_p50"),
    ("final p95", "final_p95"),
    ("finals", "finals"),
    ("of these cut", "cuts"),
)
_STAGES: tuple[Column, ...] = tuple((name, name) for name in STAGES)
_STEADY: tuple[Column, ...] = (
    ("erasure", "erasure"),
    ("stable erased", "stable_erased"),
    ("translation erasure", "translation_erasure"),
    ("translation stable erased", "translation_stable_erased"),
    ("real-time factor", "real_time_factor"),
    ("encoder's share", "encode_share"),
    ("recognitions", "recognitions"),
    ("recognitions a clip", "recognitions_per_clip"),
    ("translations", "translations"),
)
_NOTHING: tuple[Column, ...] = (
    ("clips", "clips"),
    ("min", "minutes"),
    ("words on silence", "silence_words"),
    ("words in finals on noise", "noise_words"),
    ("words shown on noise", "noise_words_shown"),
    ("shown a minute", "noise_words_per_minute"),
    ("recognitions", "recognitions"),
)
_METHOD = """\
How it is measured. Each clip goes through the server's own session, batch policy and models
against a virtual clock: audio comes at the pace of speech, each model call is really made and
takes its processor time, on one of two workers with one thread each. After each clip comes 2 s of
noise at its own noise floor, so that the end of speech has to be found as in a live stream.
`bench/live.py` runs clips over the real WebSocket in real time, to compare.

- *Offline*: faster-whisper's `WhisperModel` with the same weights, greedy, no fallback, whole
  file, language given, `condition_on_previous_text` off. Text is compared as Whisper's own
  evaluation does; the interval is a paired bootstrap over clips.
- *First shown*, *stable*: from the end of a word (offline word timestamps of the same model) to
  when it was first on screen, and in text that will not change. *Words found* is the share of the
  offline words that the captions have; the others have no delay.
- *Final*: from the end of speech, the last Silero window at or above 0.5 in the whole clip within
  the final's span, to the final. Utterances cut while somebody speaks have none.
- *Stages*, median / 95th percentile: `pause` until the silence was long enough for the final to be
  recognised, on trial; `queue`, `encode`, `decode`; `endpoint` from that result until it was known
  that the utterance is over (0 when recognition took longer). They add up to *final*; `translate`
  comes after it, to the last final translation.
- *Erasure*: words taken back for each word of the last texts (arXiv 1912.03393); *stable erased*
  counts characters.
- Where nobody speaks, a word counts when it was shown, even if only for a moment.
"""
_TRANSLATION = """\
Logs in simulstream's form, scored with OmniSTEval and simulstream's StreamLAAL (Papi et al. 2024).
There are no reference translations: the reference is the same engine's output for the offline
transcript, sentence by sentence, so BLEU and chrF say how near streaming comes to offline, not
how good the engine is. Latency is in ms, StreamLAAL in seconds; CA counts computation.
"""


def page(report: Mapping[str, Any], pictures: Sequence[str] = ()) -> str:
    """The whole report."""
    host = report["machine"]
    variants = report["figures"]
    rows = [{"variant": name, **row} for name, group in variants.items() for row in group]
    several = len(variants) > 1
    parts = [
        "# Caption quality",
        "",
        f"{host['cpu']}, {host['cores']} cores, CTranslate2 {host['ctranslate2']}, "
        f"Python {host['python']}; {report['jobs']} clips at a time."
        + (f" A sample: at most {report['limit']} clips of a set." if report["limit"] else ""),
        "",
    ]
    if several:
        parts += [*(f"- *{name}*: `{what}`" for name, what in report["variants"].items()), ""]
    parts += [_targets(report["targets"], several), _tables(rows, several), _METHOD]
    parts += [f"![{name}]({name})" for name in pictures]
    return "\n".join(parts).rstrip() + "\n"


def _targets(targets: Mapping[str, Sequence[Mapping[str, Any]]], several: bool) -> str:
    rows = [{"variant": name, **row} for name, group in targets.items() for row in group]
    shown = [{**row, "verdict": "met" if row["met"] else "**not met**"} for row in rows]
    columns = (("target", "target"), ("value", "value"), ("", "verdict"))
    return _section("Targets", shown, columns, several)


def _tables(rows: Sequence[Figures], several: bool) -> str:
    speech = [row for row in rows if row["set"] != "nonspeech"]
    scored = [{**row, **row["scores"]} for row in rows if row.get("scores")]
    names = dict.fromkeys(name for row in scored for name in row["scores"])
    parts = [
        _section("Words: error rate in percent", speech, _WORDS, several),
        _section("Delay in seconds", speech, _DELAYS, several),
        _section("From end of speech to final, by stage", speech, _STAGES, several),
        _section("Steadiness and work", speech, _STEADY, several),
        _section(
            "Translation", scored, (("to", "target"), *((name, name) for name in names)), several
        ),
        _TRANSLATION if scored else "",
        _section(
            "Where nobody speaks",
            [row for row in rows if row["set"] == "nonspeech"],
            _NOTHING,
            several,
        ),
    ]
    return "\n".join(part for part in parts if part)


def _section(title: str, rows: Sequence[Figures], columns: Sequence[Column], several: bool) -> str:
    """A table of the columns there is something in; a set's variants stand together."""
    if not rows:
        return ""
    shown = [(head, key) for head, key in columns if any(row.get(key) is not None for row in rows)]
    first: dict[tuple[str, str], int] = {}
    for row in rows:
        first.setdefault((row["set"], row["lang"]), len(first))
    ordered = sorted(rows, key=lambda row: first[row["set"], row["lang"]])
    keys = ("set", "lang", *(("variant",) if several else ()))
    lines = [_line([*keys, *(head for head, _ in shown)])]
    lines.append("|" + "---|" * (len(keys) + len(shown)))
    lines += [
        _line([*(row[key] for key in keys), *(_cell(row.get(key)) for _, key in shown)])
        for row in ordered
    ]
    return "\n".join([f"## {title}", "", *lines, ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: Any) -> str:
    match value:
        case None:
            return "–"
        case float():
            return f"{value:.2f}"
        case [None, None]:
            return "–"
        case [low, high]:
            return f"{_cell(low)} … {_cell(high)}"
        case {"p50": p50, "p95": p95}:
            return f"{_cell(p50)} / {_cell(p95)}"
        case _:
            return str(value)
