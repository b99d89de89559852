"""``surtitle usage``: works on the state itself, whether or not a server runs on it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import click

from app.cli.common import USAGE, fail, on_state

if TYPE_CHECKING:  # it imports the clients of all stores
    from app.state import State
    from guards.usage import DayUsage

_DAY = click.DateTime(["%Y-%m-%d"])


@click.command("usage")
@click.option("--from", "first", type=_DAY, help="First day (default: of this month).")
@click.option("--to", "last", type=_DAY, help="Last day (default: today).")
@click.option("--user", help="Of this user only.")
@click.option("--by", type=click.Choice(["user", "key", "day"]), default="user", show_default=True)
@click.option("--csv", "form", flag_value="csv", help="As CSV, for spreadsheets.")
@click.option("--json", "form", flag_value="json", help="As JSON, for programs.")
def command(
    first: datetime | None, last: datetime | None, user: str | None, by: Any, form: str | None
) -> None:
    """Show what was used, in days of UTC."""
    from app.usage_report import as_csv, summed

    end = last.date() if last else datetime.now(UTC).date()
    begin = first.date() if first else end.replace(day=1)
    if begin > end:
        fail(f"{begin} is after {end}", USAGE)
    rows = summed((one for one in _read(begin, end) if user in (None, one.user_id)), by)
    if form == "csv":
        click.echo(as_csv(rows), nl=False)
        return
    if form == "json":
        import msgspec

        click.echo(json.dumps(msgspec.to_builtins(rows), indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("user", "key", "day"):
        table.add_column(heading, overflow="fold")
    for heading in ("minutes of audio", "characters", "requests"):
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(
            row.user_id,
            row.key_id or "",
            str(row.day or ""),
            f"{row.audio_seconds / 60:,.1f}",
            f"{row.characters:,}",
            f"{row.requests:,}",
        )
    Console().print(table)


def _read(first: date, last: date) -> list[DayUsage]:
    async def read(state: State) -> list[DayUsage]:
        return await state.metering.usage.report(first, last)

    return on_state(read)
