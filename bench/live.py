"""The same measurements over the real WebSocket, in real time, beside the simulated ones.

    python -m bench.live [--sets english] [--limit 6] [--out docs/benchmarks]

The server runs as a process of its own, as an operator starts it; clips are spoken to it one after
the other at the pace of speech. Then the same clips are replayed against the virtual clock. What
the two say must be near each other, or the simulation is wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import websockets

from app.settings import Settings
from bench.corpus import default_manifest, read_manifest
from bench.machine import machine
from bench.processes import Others
from bench.quality.offline import reading
from bench.quality.pool import replay as simulate
from bench.quality.records import Record, note
from bench.quality.report import page
from bench.quality.sets import Item, items
from bench.quality.sounds import with_tail
from bench.quality.summary import judged, summary
from bench.quality.variants import Variant
from bench.replay import Replay, Timed, frames
from inference.models import ModelStore
from streaming import wire
from streaming.types import SAMPLE_RATE, Audio
from tests.e2e.server import Server, serving

_events = msgspec.json.Decoder(wire.ServerEvent)


async def speak(server: Server, audio: Audio, **start: Any) -> Replay:
    """Stream audio at the pace of speech; what came, on the clock of the audio."""
    replay = Replay()
    loop = asyncio.get_running_loop()
    async with websockets.connect(
        server.stream_url, additional_headers=server.headers, max_size=None
    ) as socket:
        await socket.send(json.dumps({"type": "start", **start}))
        replay.events.append(Timed(0.0, _events.decode(await socket.recv())))
        began = loop.time()

        async def send() -> None:
            # A frame is there to be sent when its last sample was spoken.
            for at, frame in frames(audio):
                await asyncio.sleep(max(0.0, began + at - loop.time()))
                await socket.send(frame)
            await socket.send('{"type": "stop"}')

        sender = asyncio.create_task(send())
        try:
            async for message in socket:
                replay.events.append(Timed(loop.time() - began, _events.decode(message)))
        finally:
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
    last = replay.events[-1].event
    if isinstance(last, wire.DoneEvent):
        return replay
    raise RuntimeError(f"the session ended with {last}")


async def measure(chosen: Sequence[Item], server: Server, cache: Path) -> list[Record]:
    """Speak every clip to the server. Their offline transcripts must be in the cache."""
    settings = Settings.model_validate({"data_dir": cache / "data"})
    model = ModelStore(settings.data_dir).speech(settings.asr_model)
    records = []
    async with reading(model, cache) as read:
        for number, item in enumerate(chosen, 1):
            audio = item.audio()
            offline = await read(audio, item.clip.lang)
            heard = await speak(server, with_tail(audio), source=item.clip.lang)
            records.append(note("live", item, len(audio) / SAMPLE_RATE, heard, offline, {}))
            print(f"\r{number}/{len(chosen)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return records


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--manifest", type=Path, default=default_manifest())
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--sets", default="english")
    parser.add_argument("--limit", type=int, default=6)
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "surtitle-bench"
    )
    arguments = parser.parse_args()
    if arguments.manifest is None:
        parser.error("no speech corpus found: give --manifest")
    chosen = [
        replace(item, targets=())
        for item in items(
            read_manifest(arguments.manifest), arguments.sets.split(","), arguments.limit
        )
        if item.clip.lang != "none"
    ]
    simulated = simulate([Variant("simulated")], chosen, jobs=1, cache=arguments.cache)
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        others = Others(server.process.pid)
        live = asyncio.run(measure(chosen, server, arguments.cache))
        taken = others.cores()

    figures = {"simulated": summary(simulated), "live": summary(live)}
    same = sum(a.streamed == b.streamed for a, b in zip(simulated, live, strict=True))
    report = {
        "machine": machine(),
        "jobs": 1,
        "limit": arguments.limit,
        "variants": {
            "simulated": "against the virtual clock",
            "live": "over the WebSocket in real time, one clip after the other",
        },
        "figures": figures,
        "targets": {name: judged(rows) for name, rows in figures.items()},
        "same_text": same,
        "clips": len(chosen),
        "other_load": taken,
    }
    text = f"""{page(report)}
The same text in both: {same} of {len(chosen)} clips. Real time is shared with whatever else runs:
other programs took {taken:.2f} of {psutil.cpu_count()} cores meanwhile.
"""
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "quality-live.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
    )
    (arguments.out / "quality-live.md").write_text(text, encoding="utf-8")
    (arguments.cache / "records-live.jsonl").write_bytes(
        b"".join(msgspec.json.encode(record) + b"\n" for record in [*simulated, *live])
    )
    print(text)


if __name__ == "__main__":
    main()
