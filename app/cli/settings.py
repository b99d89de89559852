"""``surtitle settings``."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from app.cli.common import load_settings
from app.settings_report import report


@click.command("settings")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def command(as_json: bool) -> None:
    """Show the effective settings and where they come from. Secrets are masked."""
    entries = report(load_settings())
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in entries], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("variable", "value", "source"):
        table.add_column(heading, overflow="fold")
    for entry in entries:
        value = ",".join(entry.value) if isinstance(entry.value, list) else entry.value
        style = None if entry.source == "default" else "bold"
        table.add_row(
            entry.variable, "" if value is None else str(value), entry.source, style=style
        )
    Console().print(table)
