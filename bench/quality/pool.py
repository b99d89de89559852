"""Replays many clips in a few processes."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from bench.quality import worker
from bench.quality.records import Record
from bench.quality.sets import Item
from bench.quality.variants import Variant


def replay(
    variants: Sequence[Variant], chosen: Sequence[Item], *, jobs: int, cache: Path
) -> list[Record]:
    """Replay every item in every variant; records in the order of the variants and items.

    A clip that is in several sets is replayed once, with all that is wanted of it.
    """
    merged: dict[str, Item] = {}
    for item in chosen:
        other = merged.get(item.clip.id, item)
        targets = tuple(dict.fromkeys(other.targets + item.targets))
        merged[item.clip.id] = replace(other, targets=targets)
    tasks = {
        (variant.name, clip): worker.Task(variant, item)
        for variant in variants
        for clip, item in merged.items()
    }
    done: dict[tuple[str, str], Record] = {}
    with ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), worker.begin, (cache,)
    ) as pool:
        # The longest first, so that no process is left alone with one at the end.
        order = sorted(tasks, key=lambda key: -tasks[key].item.clip.seconds)
        futures = {pool.submit(worker.measure, tasks[key]): key for key in order}
        try:
            for future in as_completed(futures):
                done[futures[future]] = future.result()
                print(f"\r{len(done)}/{len(tasks)}", end="", file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    print(file=sys.stderr)
    return [done[variant.name, item.clip.id].as_of(item) for variant in variants for item in chosen]
