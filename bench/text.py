"""How many texts a second `POST /translate/text` takes, new ones and ones it has seen.

    python -m bench.text [--concurrency 1,4,16] [--seconds 15] [--out docs/benchmarks]

The server is started for this, as an operator starts it. The clients are a process of their own
and speak HTTP/1.1 over connections that stay open, from requests made beforehand, so that they
cost little. New texts are sentences of this repository's prose and of the corpus, where there is
one, each made new by a phrase at its beginning; then the same ones are sent again.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import multiprocessing
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.corpus import default_manifest, read_manifest, utterances
from bench.interim_translation import repository_texts
from bench.machine import machine
from bench.metrics import quantile, rounded
from bench.processes import Sampler, load, pairs
from inference.sentences import sentences as split
from tests.e2e.server import Server, serving

_PLACES = ("hall", "room", "booth", "studio", "office", "lobby", "theatre", "library")
_UNLIMITED = """
[admin]
requests_per_minute = 1_000_000_000
text_per_minute = 1_000_000_000
requests_per_day = 1_000_000_000
characters_per_day = 1_000_000_000_000
"""
"""What one key may have here: all of it, since one key stands for a whole site."""
_ENOUGH = 500
"""More new texts than a machine translates in a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """``requests`` go over ``concurrency`` connections until ``seconds`` are over; each connection
    waits for an answer before it sends the next.
    """

    host: str
    port: int
    requests: Sequence[bytes]
    concurrency: int
    seconds: float
    again: bool
    """Whether to begin anew when all have been sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What came of a plan. Times are in seconds; ``began`` and ``ended`` on the wall clock."""

    began: float
    ended: float
    waits: list[float]
    statuses: dict[str, int]
    cached: int
    sent: int
    """How many of the plan's requests were sent."""


def texts(sentences: Sequence[str], *, seed: int) -> Iterator[str]:
    """Texts that are each different, without end. Raises ``ValueError`` of no sentences."""
    if not sentences:
        raise ValueError("there is nothing to translate")
    chance = random.Random(seed)  # noqa: S311 - not a secret
    for number in itertools.count(1):
        sentence = chance.choice(sentences)
        yield f"In {chance.choice(_PLACES)} {number}, {sentence[:1].lower()}{sentence[1:]}"


def request(server: Server, text: str) -> bytes:
    """A whole HTTP request."""
    body = json.dumps({"text": text, "source": "en", "target": "pt"}).encode()
    head = (
        "POST /translate/text HTTP/1.1\r\n"
        f"Host: {server.host}:{server.port}\r\n"
        f"Authorization: Bearer {server.key}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def generate(plan: Plan) -> Log:
    """Carry out a plan. Blocking: for a process of its own."""
    return asyncio.run(_generate(plan))


async def _generate(plan: Plan) -> Log:
    waiting = itertools.cycle(plan.requests) if plan.again else iter(plan.requests)
    waits: list[float] = []
    statuses: Counter[str] = Counter()
    cached = 0
    began = time.time()
    end = time.perf_counter() + plan.seconds

    async def client() -> None:
        nonlocal cached
        reader, writer = await asyncio.open_connection(plan.host, plan.port)
        try:
            for data in waiting:
                before = time.perf_counter()
                if before >= end:
                    break
                writer.write(data)
                status, body = await answer(reader)
                waits.append(time.perf_counter() - before)
                statuses[status] += 1
                cached += b'"cached":true' in body
        finally:
            writer.close()

    await asyncio.gather(*(client() for _ in range(plan.concurrency)))
    return Log(
        began=began,
        ended=time.time(),
        waits=waits,
        statuses=dict(statuses),
        cached=cached,
        sent=len(waits),
    )


async def answer(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """The status and body of the next response. Raises ``asyncio.IncompleteReadError``."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status, *headers = head.split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in headers if ": " in line)
    return status.split(" ")[1], await reader.readexactly(int(fields["content-length"]))


def measure(
    server: Server, requests: Sequence[bytes], concurrency: int, seconds: float, *, again: bool
) -> tuple[Log, dict[str, Any]]:
    """One run: its log and its row."""
    plan = Plan(
        host=server.host,
        port=server.port,
        requests=requests,
        concurrency=concurrency,
        seconds=seconds,
        again=again,
    )
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        clients = executor.submit(os.getpid).result()
        with Sampler(server.process.pid, clients) as sampler:
            log = executor.submit(generate, plan).result()
    row = {
        "texts": "seen" if again else "new",
        "concurrency": concurrency,
        **figures(log),
        **load(sampler.between(log.began, log.ended)),
    }
    return log, row


def figures(log: Log) -> dict[str, Any]:
    """Requests a second and how long they took, in milliseconds."""
    fine = log.statuses.get("200", 0)
    return {
        "requests": len(log.waits),
        "failed": {status: count for status, count in log.statuses.items() if status != "200"},
        "cached": rounded(log.cached / fine, 3) if fine else None,
        "per_second": rounded(fine / (log.ended - log.began), 1),
        **{
            f"p{round(100 * q)}_ms": None if wait is None else rounded(1000 * wait, 1)
            for q in (0.5, 0.95, 0.99)
            for wait in [quantile(log.waits, q)]
        },
    }


def page(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    host = report["machine"]
    columns = {
        "texts": "texts",
        "at once": "concurrency",
        "requests": "requests",
        "a second": "per_second",
        "p50, ms": "p50_ms",
        "p95": "p95_ms",
        "p99": "p99_ms",
        "failed": "failed",
        "from the cache": "cached",
        "server, cores": "server_cores",
        "clients": "client_cores",
        "others": "other_cores",
    }
    lines = [
        "# Translation of texts over HTTP",
        "",
        f"`POST /translate/text`, en → pt; {report['seconds']:.0f} s a row.",
        f"One text a request, of {report['characters']:.0f} characters on average.",
        f"{host['cpu']}, {host['cores']} cores; the clients run on the same machine.",
        "",
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *(
            "| " + " | ".join(_cell(row.get(key)) for key in columns.values()) + " |"
            for row in report["rows"]
        ),
        "",
        "*New* texts have not been translated before; *seen* ones have, and come from the cache.",
        "*Cores* are processor seconds a second; *others* are unrelated programs meanwhile.",
        "",
    ]
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{count} × {status}" for status, count in value.items()) or "0"
    return str(value)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, default=default_manifest())
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--concurrency", default="1,4,16")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="for the server"
    )
    arguments = parser.parse_args(argv)
    sentences = [one for text in repository_texts() for one in split(text, "en")]
    if arguments.manifest is not None:
        clips = utterances(read_manifest(arguments.manifest), "en")
        sentences += [clip.text for clip in clips if clip.text]
    new = texts(sentences, seed=arguments.seed)
    rows = []
    characters: list[int] = []
    variables = pairs(arguments.env)
    with tempfile.TemporaryDirectory() as folder:
        unlimited = Path(folder) / "tiers.toml"
        unlimited.write_text(_UNLIMITED, encoding="utf-8")
        limits = {"SURTITLE_TIERS_FILE": str(unlimited)}
        with serving(Path(folder), **{**limits, **variables}) as server:
            for concurrency in map(int, arguments.concurrency.split(",")):
                wanted = list(itertools.islice(new, round(_ENOUGH * arguments.seconds)))
                requests = [request(server, text) for text in wanted]
                log, row = measure(server, requests, concurrency, arguments.seconds, again=False)
                rows.append(row)
                characters += [len(text) for text in wanted[: log.sent]]
                _, row = measure(
                    server, requests[: log.sent], concurrency, arguments.seconds, again=True
                )
                rows.append(row)
    report = {
        "machine": machine(),
        "seconds": arguments.seconds,
        "variables": variables,
        "characters": sum(characters) / len(characters),
        "rows": rows,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "text.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    )
    (arguments.out / "text.md").write_text(page(report), encoding="utf-8")
    print(page(report))


if __name__ == "__main__":
    main()
