"""The figures as a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.quality.summary import Figures

Column = tuple[str, str]

_WORDS: tuple[Column, ...] = (
    ("streamed", "wer_streamed"),
    ("offline", "wer_offline"),
    ("difference", "wer_difference"),
    ("95 %", "wer_difference_interval"),
    ("clips", "clips"),
    ("min", "minutes"),
)
_DELAYS: tuple[Column, ...] = (
    ("first shown p50", "first_shown_p50"),
    ("p95", "first_shown_p95"),
    ("committed p50", "committed_p50"),
    ("p95", "committed_p95"),
    ("aligned", "aligned"),
    ("final p50", "final_p50"),
    ("p95", "final_p95"),
    ("finals", "finals"),
    ("cut", "cuts"),
)
_STAGES: tuple[Column, ...] = tuple(
    (f"{name} p50" if q == "p50" else "p95", f"{name}_{q}")
    for name in ("endpoint", "queue", "encode", "decode", "after", "translate")
    for q in ("p50", "p95")
)
_STEADY: tuple[Column, ...] = (
    ("erasure", "erasure"),
    ("stable erased", "stable_erased"),
    ("translations: erasure", "translation_erasure"),
    ("stable erased", "translation_stable_erased"),
    ("real-time factor", "real_time_factor"),
    ("encoder's share", "encode_share"),
    ("recognitions", "recognitions"),
    ("a clip", "recognitions_per_clip"),
    ("translations", "translations"),
)
_NOTHING: tuple[Column, ...] = (
    ("clips", "clips"),
    ("min", "minutes"),
    ("words on silence", "silence_words"),
    ("words on noise", "noise_words"),
    ("shown on noise", "noise_words_shown"),
    ("shown a minute", "noise_words_per_minute"),
    ("recognitions", "recognitions"),
)


def tables(variants: dict[str, list[Figures]]) -> str:
    """All tables, variants side by side."""
    rows = [
        {"variant": name, **figures} for name, summary in variants.items() for figures in summary
    ]
    speech = [row for row in rows if row["set"] != "nonspeech"]
    silent = [row for row in rows if row["set"] == "nonspeech"]
    several = len(variants) > 1
    parts = [
        _section("Words: error rate in percent", speech, _WORDS, several),
        _section("Delay in seconds", speech, _DELAYS, several),
        _section("From end of speech to final, by stage", speech, _STAGES, several),
        _section("Steadiness and work", speech, _STEADY, several),
        _section("Where nobody speaks", silent, _NOTHING, several),
    ]
    return "\n".join(part for part in parts if part)


def _section(title: str, rows: Sequence[Figures], columns: Sequence[Column], several: bool) -> str:
    if not rows:
        return ""
    shown = [column for column in columns if any(row.get(column[1]) is not None for row in rows)]
    # A p95 whose p50 is missing has lost its name.
    heads = ["set", "lang", *(["variant"] if several else []), *(name for name, _ in shown)]
    ordered = sorted(
        rows, key=lambda row: [(r["set"], r["lang"]) for r in rows].index((row["set"], row["lang"]))
    )
    lines = [
        f"## {title}",
        "",
        "| " + " | ".join(heads) + " |",
        "|" + "---|" * len(heads),
        *(
            "| "
            + " | ".join(
                [
                    row["set"],
                    row["lang"],
                    *([row["variant"]] if several else []),
                    *(_cell(row.get(key)) for _, key in shown),
                ]
            )
            + " |"
            for row in ordered
        ),
        "",
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    match value:
        case None:
            return "–"
        case float():
            return f"{value:.2f}"
        case [low, high]:
            return f"{_cell(low)} … {_cell(high)}"
        case _:
            return str(value)
