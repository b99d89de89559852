"""Breaks servers on purpose: one fault at a time, and one after the other at random.

    python -m bench.chaos                          each fault once
    python -m bench.chaos --faults killed,storm    some of them
    python -m bench.chaos --faults none --minutes 20 --seed 7

Results go to ``chaos.json`` in ``--out``; ``chaos.md`` is made from it. Needs redis-server and a
corpus of speech (see :mod:`bench.corpus`), and for a full disk the right to mount a file system.
Random faults strike speech that the model hears right where nothing breaks.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.chaos.hostile import HOSTILE
from bench.chaos.machine import MACHINE, lone_server
from bench.chaos.report import publish, row
from bench.chaos.scenarios import FAULTS, Scenario
from bench.chaos.servers import Process, pair
from bench.chaos.soak import Soak
from bench.chaos.speech import heard_right, speeches
from bench.chaos.stage import KEEP, Stage
from bench.corpus import Clip, default_manifest, read_manifest
from bench.load.speech import fitting
from bench.machine import machine
from bench.quality.offline import reading
from inference.models import ModelStore
from tests.redis_server import REQUIRE, RedisServer, running_redis

_SHARED = {**FAULTS, **HOSTILE}
_SPEECHES = 6
"""Different speeches of random faults, again and again."""
_SPEECH_SECONDS = 30.0
_CALM = 0.5
"""Time without faults before random ones, in parts of theirs."""


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, default=default_manifest())
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument(
        "--faults", type=_names, default=[*_SHARED, *MACHINE], help="names, or none (default: all)"
    )
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "surtitle-bench"
    )
    parser.add_argument("--streams", type=int, default=5, help="speakers through each fault")
    parser.add_argument("--seconds", type=float, default=20.0, help="what each of them speaks")
    parser.add_argument("--minutes", type=float, default=0.0, help="of random faults afterwards")
    parser.add_argument("--speakers", type=int, default=3, help="speakers through random faults")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    if arguments.manifest is None:
        parser.error("no speech corpus found: give --manifest")
    clips = fitting(read_manifest(arguments.manifest))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        print(asyncio.run(_measure(arguments, clips, Path(folder))))


def _names(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    unknown = set(names) - {*_SHARED, *MACHINE}
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no fault {', '.join(sorted(unknown))}")
    return names


async def _measure(arguments: argparse.Namespace, clips: Sequence[Clip], folder: Path) -> str:
    said = speeches(clips, count=arguments.streams, seconds=arguments.seconds, seed=arguments.seed)
    os.environ[REQUIRE] = "1"
    rows: list[dict[str, Any]] = []
    text = ""
    shared = [name for name in arguments.faults if name in _SHARED]
    if shared:
        with running_redis(folder / "redis") as redis:
            async with pair(folder, redis, **KEEP) as servers:
                stage = Stage(servers, said, redis)
                await stage.rehearse()
                rows += [await _row(_SHARED[name], stage) for name in shared]
    own = [name for name in arguments.faults if name in MACHINE]
    if own:
        async with lone_server(folder, **KEEP) as server:
            stage = Stage([server], said)
            await stage.rehearse()
            rows += [await _row(MACHINE[name], stage) for name in own]
    if rows:
        text = publish(arguments.out, faults={**_circumstances(), "rows": rows})
    if arguments.minutes:
        plain = await _heard_right(clips, arguments.cache)
        with running_redis(folder / "redis") as redis:
            async with pair(folder, redis) as servers:
                soak = await _soak(arguments, plain, servers, redis)
        recordings = {"recordings": len(plain), "recordings_tried": len(clips)}
        text = publish(arguments.out, soak={**recordings, **soak})
    return text


async def _row(scenario: Scenario, stage: Stage) -> dict[str, Any]:
    result = row(await scenario(stage))
    print(result, file=sys.stderr, flush=True)
    return result


async def _heard_right(clips: Sequence[Clip], cache: Path) -> list[Clip]:
    model = ModelStore(cache / "data").speech("base")
    async with reading(model, cache) as read:
        return await heard_right(clips, read)


async def _soak(
    arguments: argparse.Namespace,
    clips: Sequence[Clip],
    servers: Sequence[Process],
    redis: RedisServer,
) -> dict[str, Any]:
    said = speeches(clips, count=_SPEECHES, seconds=_SPEECH_SECONDS, seed=arguments.seed)
    stage = Stage(servers, said, redis)
    await stage.rehearse(at_once=arguments.speakers)
    await stage.hurry(at_once=arguments.speakers)
    soak = Soak(
        stage,
        arguments.minutes,
        arguments.speakers,
        arguments.seed,
        calm=_CALM * arguments.minutes,
    )
    return {**_circumstances(), **await soak.run()}


def _circumstances() -> dict[str, Any]:
    return {"taken": dt.datetime.now(dt.UTC).date().isoformat(), "machine": machine()}


if __name__ == "__main__":
    main()
