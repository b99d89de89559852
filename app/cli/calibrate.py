"""``surtitle calibrate``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from app.cli.common import fail, load_settings


@click.command("calibrate")
@click.option("--seconds", default=3.0, show_default=True, help="For each arrangement.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(seconds: float, as_json: bool) -> None:
    """Measure how workers, threads and batches are best arranged on this machine.

    A row is an utterance of some seconds with a caption of 24 tokens. Stop the server first.
    """
    from inference.calibration import BATCHES, Measured, arrangements, recommended, throughput
    from inference.models import ModelStore, ModelStoreError
    from inference.whisper import WhisperRecognizer, physical_cores

    settings = load_settings()
    try:
        model = ModelStore(settings.data_dir).speech(settings.asr_model)
    except (ModelStoreError, OSError) as error:
        fail(str(error))
    measured: list[Measured] = []
    for workers, threads in arrangements(physical_cores()):
        try:
            recognizer = WhisperRecognizer.load(
                model.path,
                name=model.name,
                device=settings.device,
                compute_type=settings.compute_type,
                replicas=workers,
                threads=threads,
            )
        except (RuntimeError, ValueError) as error:
            fail(" ".join(str(error).split()))
        largest = BATCHES[-1] if recognizer.device == "cuda" else 8
        for batch in (size for size in BATCHES if size <= largest):
            one = throughput(
                recognizer.work, workers=workers, threads=threads, batch=batch, seconds=seconds
            )
            measured.append(one)
            if one.seconds > 2 * seconds:
                break
    best = recommended(measured)
    if as_json:
        told: dict[str, Any] = {"measured": [asdict(one) for one in measured], "best": asdict(best)}
        click.echo(json.dumps(told, indent=2))
        return
    _print(measured, best)


def _print(measured: Any, best: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("workers", "threads", "batch", "rows a second", "seconds a batch", ""):
        table.add_column(heading, justify="right")
    for one in measured:
        table.add_row(
            str(one.workers),
            str(one.threads),
            str(one.batch),
            f"{one.rows_per_second:.1f}",
            f"{one.seconds:.2f}",
            "best" if one is best else "",
        )
    Console().print(table)
    click.echo(
        f"SURTITLE_ASR_REPLICAS={best.workers} SURTITLE_ASR_THREADS={best.threads}; "
        "the size of batches is found at every start."
    )
