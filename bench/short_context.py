"""What short encoder context saves, and what it costs in words.

    python -m bench.short_context [--manifest PATH] [--out docs/benchmarks] [--every N]

Every utterance goes through the recogniser's own code twice: as a final (short context, suspicious
rows redone in full) and with a context of 30 s from the start. Encoder time is processor time, so
that other load on the machine does not count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.corpus import Clip, default_manifest, error_rate, read_manifest, utterances
from bench.machine import EncoderMeter, machine
from inference.decoding import BUCKETS, FLOOR, FULL, MARGIN, bucket_for
from inference.models import ModelStore
from inference.whisper import WhisperRecognizer
from inference.whisper_engine import WhisperEngine
from inference.whisper_rows import Row
from streaming.errors import SurtitleError
from streaming.types import SAMPLE_RATE, Audio, Priority, RecognitionJob

LANGUAGE = "en"


@dataclass(slots=True)
class Outcome:
    """One way of decoding, over all utterances."""

    name: str
    wer: float = 0.0
    encoder_seconds: float = 0.0
    total_seconds: float = 0.0
    frames: int = 0
    redone: int = 0
    texts: list[str] = field(default_factory=list, repr=False)


def measure(
    name: str,
    engine: WhisperEngine,
    meter: EncoderMeter,
    clips: Sequence[tuple[Clip, Audio]],
    full: bool,
) -> Outcome:
    """Decode all clips one by one."""
    meter.frames, meter.seconds = 0, 0.0
    outcome = Outcome(name)
    before = time.process_time()
    for clip, audio in clips:
        job = RecognitionJob(clip.id, 1, 1, audio, Priority.FINAL, language=LANGUAGE)
        bucket = FULL if full else bucket_for(len(audio), job.priority)
        (heard,) = engine.run([Row(job, bucket)])
        if isinstance(heard, SurtitleError):
            raise heard
        outcome.texts.append(heard.text)
        outcome.redone += heard.redone
    outcome.total_seconds = round(time.process_time() - before, 1)
    outcome.encoder_seconds = round(meter.seconds, 1)
    outcome.frames = meter.frames
    references = [clip.text or "" for clip, _ in clips]
    outcome.wer = round(error_rate(references, outcome.texts, LANGUAGE), 2)
    return outcome


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    full, short = report["outcomes"]
    host = report["machine"]
    lines = [
        "# Short encoder context",
        "",
        f"{report['utterances']} English utterances, {report['audio_seconds']:.0f} s.",
        f"Model {report['model']} ({report['compute_type']}), greedy, one utterance at a time.",
        f"{host['cpu']}, {host['cores']} cores, CTranslate2 {host['ctranslate2']}.",
        "Times are processor seconds.",
        "",
        "| context | WER % | encoder s | all s | encoder frames | redone |",
        "|---|---|---|---|---|---|",
        *(
            f"| {o['name']} | {o['wer']:.2f} | {o['encoder_seconds']:.1f} | "
            f"{o['total_seconds']:.1f} | {o['frames']:,} | {o['redone']} |"
            for o in (full, short)
        ),
        "",
        f"The encoder works {full['encoder_seconds'] / short['encoder_seconds']:.1f} times less,",
        f"for {short['wer'] - full['wer']:+.2f} points of word error rate.",
        f"Margin {report['margin']} frames, floor {report['floor']},",
        f"lengths {', '.join(map(str, report['buckets']))}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--manifest", type=Path, default=default_manifest())
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks"))
    parser.add_argument("--every", type=int, default=1, help="only every n-th utterance")
    parser.add_argument("--model", default="base")
    arguments = parser.parse_args()
    if arguments.manifest is None:
        parser.error("no speech corpus found: give --manifest")

    found = [(c, c.audio()) for c in utterances(read_manifest(arguments.manifest), LANGUAGE)]
    clips = [(c, a) for c, a in found if len(a) <= 30 * SAMPLE_RATE][:: arguments.every]
    with tempfile.TemporaryDirectory() as folder:
        path = ModelStore(Path(folder)).speech(arguments.model).path
        recognizer = WhisperRecognizer.load(path, name=arguments.model, device="cpu", replicas=1)
    engine = recognizer._engine  # noqa: SLF001 - without the queue, to measure rows one by one
    recognizer.warm_up()
    meter = EncoderMeter(engine)
    outcomes = [
        measure("30 s", engine, meter, clips, full=True),
        measure("short, suspicious redone", engine, meter, clips, full=False),
    ]
    report = {
        "machine": machine(),
        "model": arguments.model,
        "compute_type": recognizer.compute_type,
        "utterances": len(clips),
        "audio_seconds": sum(len(audio) for _, audio in clips) / SAMPLE_RATE,
        "buckets": BUCKETS,
        "margin": MARGIN[Priority.FINAL],
        "floor": FLOOR[Priority.FINAL],
        # The recordings' words are not ours to publish.
        "outcomes": [asdict(replace(outcome, texts=[])) for outcome in outcomes],
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "short-context.json").write_text(json.dumps(report, indent=2) + "\n")
    (arguments.out / "short-context.md").write_text(table(report))
    print(table(report))


if __name__ == "__main__":
    main()
