"""``surtitle sessions``: the streams that a server runs."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import quote

import click

from app.cli.api import call, server_options
from app.cli.common import as_text


@click.group("sessions")
def command() -> None:
    """List and end the running streams of a server."""


@command.command("list")
@server_options
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def listing(server: str, key: str | None, as_json: bool) -> None:
    """List running streams: whose they are, how long they are, and how far behind."""
    sessions = call(server, key, "GET", "/admin/sessions")
    if as_json:
        click.echo(as_text(sessions))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "user", "tier", "address", "since", "audio", "behind", "finals", ""):
        table.add_column(heading, overflow="fold", no_wrap=heading == "id")
    for session in sessions:
        since = datetime.fromisoformat(session["started_at"]).astimezone()
        table.add_row(
            session["id"],
            session["user_id"],
            session["tier"],
            session["address"],
            f"{since:%Y-%m-%d %H:%M}",
            f"{session['audio_seconds']:.0f} s",
            f"{session['behind_seconds']:.1f} s",
            str(session["finals"]),
            "" if session["connected"] else "lost",
        )
    Console().print(table)


@command.command("end")
@server_options
@click.argument("session_id")
def end(server: str, key: str | None, session_id: str) -> None:
    """End a stream. It gets the finals of what was said."""
    call(server, key, "DELETE", f"/admin/sessions/{quote(session_id, safe='')}")
    click.echo(f"{session_id} is ending")
