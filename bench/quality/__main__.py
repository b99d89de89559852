"""Replay real speech through the real session and models, and say how good the captions are.

    python -m bench.quality [--sets english,longform,…] [--limit N] [--jobs 2]
        [--set key=value …] [--variant NAME --set key=value …]…

Overrides before the first ``--variant`` hold for all; see :mod:`bench.quality.variants`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import msgspec

from bench.corpus import default_manifest, read_manifest
from bench.machine import machine
from bench.quality import worker
from bench.quality.records import Record
from bench.quality.report import tables
from bench.quality.sets import SETS, items
from bench.quality.summary import judged, summary
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
    report = {
        "machine": machine(),
        "jobs": arguments.jobs,
        "limit": arguments.limit,
        "variants": {variant.name: describe(variant) for variant in variants},
        "figures": {
            variant.name: summary([one for one in records if one.variant == variant.name])
            for variant in variants
        },
    }
    report["targets"] = {name: judged(rows) for name, rows in report["figures"].items()}
    page = tables(report["figures"])
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{arguments.name}.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    )
    (arguments.out / f"{arguments.name}.md").write_text(page, encoding="utf-8")
    # What was said is not ours to publish: it stays in the cache, for looking into.
    (arguments.cache / "records.jsonl").write_bytes(
        b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    )
    print(page)


def replay(
    variants: Sequence[Variant], chosen: Sequence[Any], *, jobs: int, cache: Path
) -> list[Record]:
    """Replay every item in every variant; records in the order of the variants and items."""
    # A variant whose settings need other models loads them once in each process.
    tasks = [worker.Task(variant, item) for variant in variants for item in chosen]
    done: dict[int, Record] = {}
    with ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), worker.begin, (cache,)
    ) as pool:
        futures = {pool.submit(worker.measure, task): number for number, task in enumerate(tasks)}
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                print(f"\r{len(done)}/{len(tasks)}", end="", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    print(file=sys.stderr)
    return [done[number] for number in range(len(tasks))]


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
