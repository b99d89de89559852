"""``surtitle models``."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from app.cli.common import fail, load_settings
from inference.models import ModelStore, ModelStoreError, SpeechModel


@click.group("models")
def command() -> None:
    """List, check and fetch speech models."""


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def listing(as_json: bool) -> None:
    """List the speech models known by name. Directories and hub ids work as well."""
    settings = load_settings()
    entries = ModelStore(settings.data_dir).list()
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("name", "here", "from", ""):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        chosen = "SURTITLE_ASR_MODEL" if entry.name == settings.asr_model else ""
        here = "yes" if entry.available else "no"
        table.add_row(entry.name, here, f"{entry.source}: {entry.origin}", chosen)
    Console().print(table)


@command.command("verify")
@click.argument("name", required=False)
def verify(name: str | None) -> None:
    """Hash a model's weights again (default: the configured model)."""
    model = _model(name, check=True)
    if model.sha256 is None:
        # Still a success: the files are there and of the right kind.
        click.echo(f"{model.name}: complete in {model.path}; its hash is known to nobody here")
    else:
        click.echo(f"{model.name}: {model.sha256} as it should be, in {model.path}")


@command.command("fetch")
@click.argument("name", required=False)
def fetch(name: str | None) -> None:
    """Make a model ready, so that a later start needs nothing from outside."""
    model = _model(name, check=False)
    click.echo(f"{model.name}: ready in {model.path}")


def _model(name: str | None, *, check: bool) -> SpeechModel:
    settings = load_settings()
    store = ModelStore(settings.data_dir)
    wanted = name or settings.asr_model
    try:
        return store.verify(wanted) if check else store.fetch(wanted)
    except (ModelStoreError, OSError) as error:
        fail(str(error))
