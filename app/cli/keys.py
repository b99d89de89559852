"""``surtitle keys``: works on the state itself, whether or not a server runs on it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from app.cli.common import fail, on_state
from guards.errors import KeyUnknown
from guards.keyring import Keyring
from guards.keys import KeyRecord
from guards.principal import SCOPES, Tier

R = TypeVar("R")


@click.group("keys")
def command() -> None:
    """Create, list and revoke API keys."""


@command.command("create")
@click.option("--user", required=True, help="Who the key is for.")
@click.option(
    "--tier",
    type=click.Choice([tier.value for tier in Tier]),
    default=Tier.FREE.value,
    show_default=True,
)
@click.option("--name", default="", help="What the key is for.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(sorted(SCOPES)))
@click.option("--days", type=click.FloatRange(min=0, min_open=True), help="Days until it expires.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def create(
    user: str, tier: str, name: str, scopes: tuple[str, ...], days: float | None, as_json: bool
) -> None:
    """Create a key. It is shown this once."""
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)

    async def issue(keyring: Keyring) -> tuple[str, KeyRecord]:
        return await keyring.issue(
            user_id=user, tier=Tier(tier), name=name, scopes=scopes, expires_at=expires_at
        )

    key, record = _run(issue)
    if as_json:
        click.echo(json.dumps({"api_key": key, **_members(record)}, indent=2))
    else:
        click.echo(key)
        click.echo(f"{record.key_id} for {record.user_id}; the key is not shown again", err=True)


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def listing(as_json: bool) -> None:
    """List all keys, revoked and expired ones too."""

    async def read(keyring: Keyring) -> list[KeyRecord]:
        return await keyring.store.listing()

    records = _run(read)
    if as_json:
        click.echo(json.dumps([_members(record) for record in records], indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "user", "tier", "name", "key", "created", "last used", "state"):
        table.add_column(heading, overflow="fold")
    for record in records:
        table.add_row(
            record.key_id,
            record.user_id,
            record.tier.value,
            record.name,
            record.hint,
            _day(record.created_at),
            _day(record.last_used_at),
            _state(record),
        )
    Console().print(table)


@command.command("revoke")
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke a key. Its running sessions end within 5 seconds."""

    async def end(keyring: Keyring) -> None:
        await keyring.revoke(key_id)

    try:
        _run(end)
    except KeyUnknown as error:
        fail(error.message)
    click.echo(f"{key_id} is revoked")


def _run(action: Callable[[Keyring], Awaitable[R]]) -> R:
    return on_state(lambda state: action(state.keyring))


def _members(record: KeyRecord) -> dict[str, Any]:
    def text(moment: datetime | None) -> str | None:
        return None if moment is None else moment.isoformat()

    return {
        "key_id": record.key_id,
        "user_id": record.user_id,
        "tier": record.tier.value,
        "name": record.name,
        "scopes": sorted(record.scopes),
        "hint": record.hint,
        "created_at": text(record.created_at),
        "expires_at": text(record.expires_at),
        "revoked_at": text(record.revoked_at),
        "last_used_at": text(record.last_used_at),
    }


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _state(record: KeyRecord) -> str:
    if record.revoked_at is not None:
        return "revoked"
    if record.expires_at is None:
        return "valid"
    expired = record.expires_at <= datetime.now(UTC)
    return f"{'expired' if expired else 'valid until'} {_day(record.expires_at)}"
