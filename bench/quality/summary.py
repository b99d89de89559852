"""Records, pooled: the figures of each set and language, and the targets they are held to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from bench.corpus import Errors
from bench.metrics import quantile, rounded
from bench.quality.records import Record, by_group

Figures = dict[str, Any]

STAGES: Final = ("pause", "queue", "encode", "decode", "endpoint", "translate")


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must not be above."""

    figure: str
    limit: float
    sets: tuple[str, ...]
    text: str

    def applies(self, figures: Figures) -> bool:
        return figures["set"] in self.sets and figures.get(self.figure) is not None

    def met(self, figures: Figures) -> bool:
        return bool(figures[self.figure] <= self.limit + 1e-9)


SPEECH: Final = ("english", "longform", "languages")
TARGETS: Final = (
    Target("wer_difference", 1.0, ("english",), "streamed WER within 1.0 point of offline"),
    Target("wer_difference", 1.5, ("longform", "languages"), "within 1.5 points"),
    Target("final_p50", 0.6, SPEECH, "end of speech → final, p50 ≤ 0.6 s"),
    Target("final_p95", 0.9, SPEECH, "end of speech → final, p95 ≤ 0.9 s"),
    Target("first_shown_p50", 1.0, SPEECH, "word → first shown, p50 ≤ 1.0 s"),
    Target("erasure", 0.2, SPEECH, "normalised erasure of shown text ≤ 0.2"),
    Target("stable_erased", 0, (*SPEECH, "translation"), "erasure of stable text 0"),
    Target("translation_erasure", 0.3, ("translation",), "erasure of shown translations ≤ 0.3"),
    Target("translation_stable_erased", 0, ("translation",), "erasure of final translations 0"),
    Target("silence_words", 0, ("nonspeech",), "no words on silence"),
    Target("noise_words_per_minute", 1.0, ("nonspeech",), "≤ 1 word a minute of noise and music"),
)


def summary(records: Sequence[Record]) -> list[Figures]:
    """The figures of each set and language, in the order of the records."""
    return [
        {"set": name, "lang": lang, "clips": len(group), **_figures(name, group)}
        for (name, lang), group in by_group(records).items()
    ]


def judged(figures: Sequence[Figures]) -> list[Figures]:
    """Each target with the value it is compared with, and whether it is met."""
    return [
        {
            "set": row["set"],
            "lang": row["lang"],
            "target": target.text,
            "value": row[target.figure],
            "limit": target.limit,
            "met": target.met(row),
        }
        for row in figures
        for target in TARGETS
        if target.applies(row)
    ]


def _figures(name: str, records: Sequence[Record]) -> Figures:
    if name == "nonspeech":
        return {**_minutes(records), **_hallucinations(records), **_work(records)}
    return {
        **_minutes(records),
        **_words(records),
        **_delays(records),
        **_steadiness(records),
        **_work(records),
    }


def _minutes(records: Sequence[Record]) -> Figures:
    return {"minutes": rounded(sum(record.seconds for record in records) / 60)}


def _words(records: Sequence[Record]) -> Figures:
    streamed = sum((record.errors for record in records), Errors())
    offline = sum((record.offline_errors for record in records), Errors())
    low, high = _interval(records)
    return {
        "words": streamed.words,
        "wer_streamed": rounded(streamed.rate),
        "wer_offline": rounded(offline.rate),
        "wer_difference": rounded(streamed.rate - offline.rate),
        "wer_difference_interval": [rounded(low), rounded(high)],
        "streamed_errors": asdict(streamed),
        "offline_errors": asdict(offline),
        "wrong_language": sum(record.languages not in ((), (record.lang,)) for record in records),
    }


def _interval(records: Sequence[Record], draws: int = 2000) -> tuple[float, float]:
    """95 % of the difference in WER, by paired bootstrap over clips."""
    counts = np.array(
        [[r.errors.total, r.offline_errors.total, r.errors.words] for r in records], dtype=float
    )
    random = np.random.default_rng(0)
    picked = counts[random.integers(0, len(counts), (draws, len(counts)))].sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        differences = 100 * (picked[:, 0] - picked[:, 1]) / picked[:, 2]
    low, high = np.nanquantile(differences, [0.025, 0.975])
    return float(low), float(high)


def _delays(records: Sequence[Record]) -> Figures:
    shown = [wait for record in records for wait in record.first_shown]
    committed = [wait for record in records for wait in record.committed]
    stages = [stage for record in records for stage in record.stages]
    spoken = sum(record.spoken for record in records)
    totals = [stage.total for stage in stages]
    figures: Figures = {
        **_quantiles("first_shown", shown),
        **_quantiles("committed", committed),
        "aligned": rounded(len(shown) / spoken) if spoken else None,
        **_quantiles("final", totals),
        "finals": len(totals) + sum(record.cuts for record in records),
        "cuts": sum(record.cuts for record in records),
    }
    for name in STAGES:
        values = [getattr(stage, name) for stage in stages]
        known = [value for value in values if value is not None]
        if known:
            figures[name] = {
                "p50": rounded(quantile(known, 0.5)),
                "p95": rounded(quantile(known, 0.95)),
            }
    return figures


def _steadiness(records: Sequence[Record]) -> Figures:
    figures: Figures = {
        "erasure": _ratio(records, lambda r: r.captions.erased, lambda r: r.captions.words),
        "stable_erased": sum(record.captions.stable_erased for record in records),
    }
    if any(record.translations.words for record in records):
        figures |= {
            "translation_erasure": _ratio(
                records, lambda r: r.translations.erased, lambda r: r.translations.words
            ),
            "translation_stable_erased": sum(r.translations.stable_erased for r in records),
        }
    return figures


def _hallucinations(records: Sequence[Record]) -> Figures:
    silent = [record for record in records if "silence" in record.tags]
    noisy = [record for record in records if "silence" not in record.tags]
    minutes = sum(record.seconds for record in noisy) / 60
    return {
        "silence_words": sum(record.flashed for record in silent),
        "noise_words": sum(record.hallucinated for record in noisy),
        "noise_words_shown": sum(record.flashed for record in noisy),
        "noise_words_per_minute": rounded(sum(r.flashed for r in noisy) / max(minutes, 1e-9)),
        "heard": {record.clip: record.streamed for record in records if record.flashed},
    }


def _work(records: Sequence[Record]) -> Figures:
    audio = sum(record.seconds for record in records)
    spent = sum(record.recognition_seconds for record in records)
    return {
        "real_time_factor": rounded(spent / audio, 3) if spent and audio else None,
        "encode_share": rounded(sum(r.encode_seconds for r in records) / spent) if spent else None,
        "recognitions": sum(record.calls for record in records),
        "partials": sum(record.partials for record in records),
        "recognitions_per_clip": rounded(sum(r.calls for r in records) / len(records)),
        "translations": sum(record.text_calls for record in records),
    }


def _quantiles(name: str, values: Sequence[float]) -> Figures:
    return {
        f"{name}_p50": rounded(quantile(values, 0.5)),
        f"{name}_p95": rounded(quantile(values, 0.95)),
    }


def _ratio(
    records: Sequence[Record], part: Callable[[Record], int], whole: Callable[[Record], int]
) -> float | None:
    total = sum(map(whole, records))
    return rounded(sum(map(part, records)) / total, 3) if total else None
