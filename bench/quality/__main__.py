"""Replay real speech through the real session and models, and say how good the captions are.

    python -m bench.quality [--sets english,longform,…] [--limit N] [--jobs 2]
        [--set key=value …] [--variant NAME --set key=value …]…

Overrides before the first ``--variant`` hold for all; see :mod:`bench.quality.variants`.

Translations are scored with two packages that have an environment of their own:

    python -m venv TOOLS && TOOLS/bin/pip install simulstream==1.0.0 omnisteval==0.1.10 mweralign
    python -m bench.quality --sets translation --tools TOOLS/bin
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.corpus import default_manifest, read_manifest
from bench.machine import machine
from bench.quality.plots import plots
from bench.quality.pool import replay
from bench.quality.records import Record
from bench.quality.report import page
from bench.quality.sets import SETS, items
from bench.quality.summary import Figures, judged, summary
from bench.quality.translation import score, write
from bench.quality.variants import Variant, check, describe, parse


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, default=default_manifest())
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--name", default="quality", help="name of the files in --out")
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--limit", type=int, help="at most so many clips of a set and language")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "surtitle-bench"
    )
    parser.add_argument(
        "--tools", type=Path, help="bin folder with omnisteval and simulstream_score_latency"
    )
    parser.add_argument(
        "--variant", action="append", type=_named, dest="given", help="begins a variant"
    )
    parser.add_argument(
        "--set", action="append", type=_override, dest="given", metavar="KEY=VALUE", help="override"
    )
    arguments = parser.parse_args(argv)
    if arguments.manifest is None:
        parser.error("no speech corpus found: give --manifest")
    try:
        variants = _variants(arguments.given or [])
        chosen = items(
            read_manifest(arguments.manifest), arguments.sets.split(","), arguments.limit
        )
    except (ValueError, AttributeError, ImportError, OSError) as error:
        parser.error(str(error))

    records = replay(variants, chosen, jobs=arguments.jobs, cache=arguments.cache)
    by_variant = {
        variant.name: [one for one in records if one.variant == variant.name]
        for variant in variants
    }
    figures = {name: summary(group) for name, group in by_variant.items()}
    for name, group in by_variant.items():
        _score(name, group, figures[name], arguments.cache, arguments.tools)
    report = {
        "machine": machine(),
        "jobs": arguments.jobs,
        "limit": arguments.limit,
        "variants": {variant.name: describe(variant) for variant in variants},
        "figures": figures,
        "targets": {name: judged(rows) for name, rows in figures.items()},
    }
    _publish(report, by_variant, arguments)


def _score(
    variant: str,
    records: Sequence[Record],
    rows: Sequence[Figures],
    cache: Path,
    tools: Path | None,
) -> None:
    """Write the translations' logs, and have them scored where the tools are at hand."""
    for row in rows:
        group = [one for one in records if one.translated and one.lang == row["lang"]]
        if row["set"] != "translation" or not group:
            continue
        target = group[0].translated[0].target
        folder = cache / "translation" / f"{variant}-{row['lang']}-{target}"
        write({one.clip: one.translated[0] for one in group}, folder)
        row["target"] = target
        if tools is not None:
            row["scores"] = score(folder, target, tools)


def _publish(
    report: dict[str, Any], records: Mapping[str, Sequence[Record]], arguments: argparse.Namespace
) -> None:
    out, name = arguments.out, arguments.name
    out.mkdir(parents=True, exist_ok=True)
    drawn = {f"{name}-{plot}.svg": svg for plot, svg in plots(next(iter(records.values()))).items()}
    for file, svg in drawn.items():
        (out / file).write_text(svg, encoding="utf-8")
    text = page(report, list(drawn))
    (out / f"{name}.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    )
    (out / f"{name}.md").write_text(text, encoding="utf-8")
    # What was said is not ours to publish: it stays in the cache, for looking into.
    (arguments.cache / "records.jsonl").write_bytes(
        b"".join(
            msgspec.json.encode(record) + b"\n" for group in records.values() for record in group
        )
    )
    print(text)


def _named(text: str) -> str:
    """The value of ``--variant``, beside the pairs of ``--set`` in one list, in order."""
    return text


def _override(text: str) -> tuple[str, Any]:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _variants(given: Sequence[str | tuple[str, Any]]) -> list[Variant]:
    shared: list[tuple[str, Any]] = []
    named: dict[str, list[tuple[str, Any]]] = {}
    for one in given:
        if isinstance(one, str):
            named[one] = []
        else:
            (named[next(reversed(named))] if named else shared).append(one)
    variants = [Variant(name, (*shared, *own)) for name, own in named.items()]
    variants = variants or [Variant("default", tuple(shared))]
    for variant in variants:
        check(variant)
    return variants


if __name__ == "__main__":
    main()
