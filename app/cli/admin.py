"""``surtitle admin``: a running server's caches, breakers, limits, log, drain and audit log."""

from __future__ import annotations

import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

import click

from app.cli.api import call, server_options
from app.cli.common import USAGE, as_text, fail


@click.group("admin")
def command() -> None:
    """Run a server: its caches, breakers, limits, log, drain and audit log."""


@command.command("cache-clear")
@server_options
def cache_clear(server: str, key: str | None) -> None:
    """Forget cached transcripts and translations."""
    cleared = call(server, key, "POST", "/admin/cache/clear")
    click.echo(f"{cleared['transcripts']} transcripts, {cleared['translations']} translations")


@command.command("breakers")
@server_options
def breakers(server: str, key: str | None) -> None:
    """List the circuit breakers: services, and whether they are called."""
    for one in call(server, key, "GET", "/admin/circuit-breakers"):
        until = f", tried again at {one['next_try']}" if one["next_try"] else ""
        click.echo(f"{one['name']}: {one['state']} since {one['since']}{until}")


@command.command("breaker-reset")
@server_options
@click.argument("name", required=False)
def breaker_reset(server: str, key: str | None, name: str | None) -> None:
    """Call a service again, or all, whatever its breaker has seen."""
    answer = call(server, key, "POST", "/admin/circuit-breaker/reset", {"name": name})
    click.echo("\n".join(answer["reset"]) or "none was open")


@command.command("limits-reset")
@server_options
@click.option("--key-id", help="Forget how often this key asked.")
@click.option("--address", help="Forget the wrong credentials of this address.")
def limits_reset(server: str, key: str | None, key_id: str | None, address: str | None) -> None:
    """Forget what counts against a limit."""
    if key_id is None and address is None:
        fail("give --key-id, --address or both", USAGE)
    call(server, key, "POST", "/admin/limits/reset", {"key_id": key_id, "address": address})
    click.echo("forgotten")


@command.command("log-level")
@server_options
@click.argument("level", required=False, type=click.Choice(["debug", "info", "warning", "error"]))
def log_level(server: str, key: str | None, level: str | None) -> None:
    """Show the least severe entries that are logged, or change it."""
    body = None if level is None else {"level": level}
    method = "GET" if level is None else "PUT"
    click.echo(call(server, key, method, "/admin/log-level", body)["level"])


@command.command("drain")
@server_options
def drain(server: str, key: str | None) -> None:
    """Take no more streams, and let the running ones finish. There is no way back."""
    answer = call(server, key, "POST", "/admin/drain")
    click.echo(f"draining; {answer['sessions']} streams are ending")


@command.command("signing-key")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--algorithm",
    type=click.Choice(["ES256", "RS256", "HS256"]),
    default="ES256",
    show_default=True,
)
@click.option(
    "--keep",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Keys the file has afterwards, the new one among them.",
)
def signing_key(file: Path, algorithm: str, keep: int) -> None:
    """Put a new key for tokens before those in FILE (SURTITLE_JWT_KEYS), which may be new.

    Tokens that were signed with a key that is still there stay good.
    """
    from guards.jwks import new_key, parse_key_set

    kid = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(2)}"
    keys = [new_key(algorithm, kid)]
    try:
        if file.exists():
            parse_key_set(file.read_bytes(), ours=True)
            keys += json.loads(file.read_bytes())["keys"]
        # Complete or not at all: a server may be starting.
        draft = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(json.dumps({"keys": keys[:keep]}, indent=2) + "\n")
        draft.replace(file)
    except (OSError, ValueError) as error:
        fail(f"{file}: {error}")
    click.echo(f"{kid} signs from the next start; the file has {len(keys[:keep])}")


@command.command("audit")
@server_options
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--before", type=int, help="Entries older than this one (its id).")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def audit(server: str, key: str | None, limit: int, before: int | None, as_json: bool) -> None:
    """Show what administrators did, newest first."""
    page = call(server, key, "GET", "/admin/audit", limit=limit, before=before)
    if as_json:
        click.echo(as_text(page))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "at", "who", "action", "target", "outcome", "from", "request"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("id", "action"))
    for entry in page["entries"]:
        table.add_row(
            str(entry["id"]),
            f"{datetime.fromisoformat(entry['at']).astimezone():%Y-%m-%d %H:%M:%S}",
            entry["key_id"] or entry["user_id"],
            entry["action"],
            entry["target"],
            entry["outcome"],
            entry["address"],
            entry["request_id"],
        )
    Console().print(table)
