"""Many speakers at once: how many a server holds, and how it gives way.

    python -m bench.load --speakers 1,2,4,8        delays for each number of speakers
    python -m bench.load --find                    the largest number that is held
    python -m bench.load --idle 1000               many sessions that say nothing, a few that speak
    python -m bench.load --overload                twice as many as are held
    python -m bench.load --tenants                 a flood from one key, and another key beside it
    python -m bench.load --soak 20                 twenty minutes at capacity

What is asked for together is done in this order, on one server. ``--overload``, ``--tenants`` and
``--soak`` take the capacity that ``--find`` found, or that of ``--capacity``. Results are added to
``load.json`` in ``--out``; ``load.md`` is made from it.

A server is started for this, or a running one is given with ``--url`` and its key in
``SURTITLE_KEY``. The other servers of :mod:`bench.load.rivals` are measured with ``--server`` and
``--rivals DIR``. A corpus of speech is needed: see :mod:`bench.corpus`.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import os
import resource
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from bench.corpus import Errors, default_manifest, read_manifest
from bench.load import scenarios
from bench.load.report import Section, publish
from bench.load.runs import Runs
from bench.load.scenarios import Result
from bench.load.servers import KINDS, Target, started
from bench.load.speech import Utterance, pool
from bench.machine import machine
from bench.processes import pairs
from inference.models import ModelStore, SpeechModel


def main(argv: Sequence[str] | None = None) -> None:
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.manifest is None:
        parser.error("no speech corpus found: give --manifest")
    wanted = ("speakers", "find", "idle", "overload", "tenants", "soak")
    if not any(getattr(arguments, name) for name in wanted):
        parser.error("say what to measure: " + ", ".join(f"--{name}" for name in wanted))
    _many_sockets()
    model = ModelStore(arguments.cache / "data").speech(arguments.model)
    clips = read_manifest(arguments.manifest)
    utterances = asyncio.run(
        pool(
            clips,
            seconds=arguments.pool,
            seed=arguments.seed,
            model=model,
            cache=arguments.cache,
        )
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        runs = Runs(
            _target(arguments, model, folder, stack),
            utterances,
            seconds=arguments.seconds,
            ramp=arguments.ramp,
            seed=arguments.seed,
        )
        runs.warm_up()
        for name, result in _measured(arguments, runs, folder):
            # At once: what comes later may fail, and these took minutes.
            text = publish([_section(name, result, arguments, utterances, model)], arguments.out)
    print(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, default=default_manifest())
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "surtitle-bench"
    )
    server = parser.add_argument_group("the server")
    server.add_argument("--server", choices=KINDS, default="surtitle")
    server.add_argument("--rivals", type=Path, help="where bench.load.rivals installed them")
    server.add_argument("--model", default="base", help="what is loaded, and listens offline")
    server.add_argument("--url", help="a Surtitle that runs already: http://host:port")
    server.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="for the started server"
    )
    runs = parser.add_argument_group("each run")
    runs.add_argument("--seconds", type=float, default=60.0, help="with all speakers speaking")
    runs.add_argument("--ramp", type=float, default=6.0, help="seconds in which they begin")
    runs.add_argument("--pool", type=float, default=120.0, help="seconds of different utterances")
    runs.add_argument("--seed", type=int, default=1)
    what = parser.add_argument_group("what is measured")
    what.add_argument("--speakers", type=_numbers, default=[], metavar="1,2,4,8,12,16")
    what.add_argument("--find", action="store_true")
    what.add_argument("--limit", type=int, default=64, help="most speakers that --find tries")
    what.add_argument("--idle", type=int, default=0, metavar="SESSIONS")
    what.add_argument("--speaking", type=int, default=5, help="how many speak beside idle ones")
    what.add_argument("--keepalive", action="store_true", help="idle ones send no sound")
    what.add_argument("--overload", action="store_true")
    what.add_argument("--tenants", action="store_true")
    what.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    what.add_argument("--capacity", type=int, help="for --overload, --tenants and --soak")
    return parser


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _many_sockets() -> None:
    """Allow as many open files as the system lets; the server inherits it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _target(
    arguments: argparse.Namespace, model: SpeechModel, folder: Path, stack: ExitStack
) -> Target:
    if arguments.url:
        address = urlsplit(arguments.url.rstrip("/"))
        stream = address._replace(scheme={"http": "ws", "https": "wss"}[address.scheme])
        return Target(
            kind="surtitle",
            url=f"{stream.geturl()}/v1/stream",
            http=address.geturl(),
            key=os.environ.get("SURTITLE_KEY"),
        )
    return stack.enter_context(
        started(
            arguments.server,
            folder,
            model=model.path,
            installed=arguments.rivals.resolve() if arguments.rivals else None,
            variables=pairs(arguments.env),
        )
    )


def _measured(
    arguments: argparse.Namespace, runs: Runs, folder: Path
) -> Iterator[tuple[str, Result]]:
    """Each scenario asked for, when it has been played."""
    capacity: int | None = arguments.capacity
    if arguments.speakers:
        yield "speakers", scenarios.speakers(runs, arguments.speakers)
    if arguments.find:
        result = scenarios.find(runs, limit=arguments.limit)
        capacity = capacity or result.verdict["found"]
        yield "find", result
    if arguments.idle:
        yield (
            "muted" if arguments.keepalive else "idle",
            scenarios.idle(
                runs,
                arguments.idle,
                speaking=arguments.speaking,
                keepalive=arguments.keepalive,
                folder=folder,
            ),
        )
    at_capacity: dict[str, Callable[[int], Result]] = {
        "overload": partial(scenarios.overload, runs),
        "tenants": lambda held: scenarios.tenants(runs, speaking=max(1, held // 4), flood=2 * held),
        "soak": lambda held: scenarios.soak(runs, held, arguments.soak),
    }
    for name, play in at_capacity.items():
        if getattr(arguments, name):
            if not capacity:
                raise SystemExit(f"--{name} needs --find (which held none) or --capacity")
            yield name, play(capacity)


def _section(
    name: str,
    result: Result,
    arguments: argparse.Namespace,
    utterances: Sequence[Utterance],
    model: SpeechModel,
) -> Section:
    offline = sum((one.offline for one in utterances), Errors())
    return {
        "server": arguments.server,
        "scenario": name,
        "taken": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": machine(),
        "model": model.name,
        "seconds": arguments.seconds,
        "variables": pairs(arguments.env),
        "pool": {
            "utterances": len(utterances),
            "seconds": sum(one.seconds for one in utterances),
            "seed": arguments.seed,
            "wer_offline": offline.rate,
        },
        "rows": result.rows,
        "verdict": result.verdict,
    }


if __name__ == "__main__":
    main()
