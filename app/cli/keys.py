"""``surtitle keys``: works on the state itself, whether or not a server runs on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import click

from app.cli.common import USAGE, as_text, fail, on_state, shell_entry
from app.state import State
from guards.audit import recorded
from guards.keys import KeyChanges, KeyRecord
from guards.principal import SCOPES, Tier
from guards.tiers import check
from streaming.errors import SurtitleError

R = TypeVar("R")

_TIER = click.Choice([tier.value for tier in Tier])
_SCOPE = click.Choice(sorted(SCOPES))
_DAYS = click.FloatRange(min=0, min_open=True)

_as_json = click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
_scopes = click.option("--scope", "scopes", multiple=True, type=_SCOPE, help="What it may do.")
_limits = click.option(
    "--limit", "limits", multiple=True, metavar="NAME=NUMBER", help="In place of the tier's."
)


@click.group("keys")
def command() -> None:
    """Create, list, change, rotate and revoke API keys."""


@command.command("create")
@click.option("--user", required=True, help="Who the key is for.")
@click.option("--tier", type=_TIER, default=Tier.FREE.value, show_default=True)
@click.option("--name", default="", help="What the key is for.")
@_scopes
@_limits
@click.option("--days", type=_DAYS, help="Days until it expires.")
@_as_json
def create(
    user: str,
    tier: str,
    name: str,
    scopes: tuple[str, ...],
    limits: tuple[str, ...],
    days: float | None,
    as_json: bool,
) -> None:
    """Create a key. It is shown this once."""
    numbers = _numbers(limits)

    async def issue(state: State) -> tuple[str, KeyRecord]:
        entry = shell_entry("key.create", user_id=user, tier=tier, scopes=list(scopes))
        async with recorded(state.audit.append, entry) as action:
            key, record = await state.keyring.issue(
                user_id=user,
                tier=Tier(tier),
                name=name,
                scopes=scopes,
                expires_at=_in(days),
                limits=numbers,
            )
            action.target = record.key_id
            return key, record

    _show_secret(*_run(issue), as_json=as_json)


@command.command("list")
@_as_json
def listing(as_json: bool) -> None:
    """List all keys, revoked and expired ones too."""

    async def read(state: State) -> list[KeyRecord]:
        return await state.keyring.store.listing()

    records = _run(read)
    if as_json:
        click.echo(as_text([record.shown for record in records]))
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


@command.command("show")
@click.argument("key_id")
def show(key_id: str) -> None:
    """Show all that is kept of a key, as JSON."""

    async def read(state: State) -> KeyRecord:
        return await state.keyring.show(key_id)

    click.echo(as_text(_run(read).shown))


@command.command("change")
@click.argument("key_id")
@click.option("--tier", type=_TIER)
@click.option("--name", help="What the key is for.")
@_scopes
@_limits
@click.option("--no-limits", is_flag=True, help="The tier's own limits again.")
@click.option("--days", type=_DAYS, help="Days until it expires, from now.")
@click.option("--for-ever", is_flag=True, help="It no longer expires.")
def change(
    key_id: str,
    tier: str | None,
    name: str | None,
    scopes: tuple[str, ...],
    limits: tuple[str, ...],
    no_limits: bool,
    days: float | None,
    for_ever: bool,
) -> None:
    """Change what is given; the rest of the key stays as it is."""
    if (limits and no_limits) or (days is not None and for_ever):
        fail("these options contradict each other", USAGE)
    changes: KeyChanges = {}
    if tier is not None:
        changes["tier"] = Tier(tier)
    if name is not None:
        changes["name"] = name
    if scopes:
        changes["scopes"] = frozenset(scopes)
    if limits or no_limits:
        changes["limits"] = _numbers(limits)
    if days is not None or for_ever:
        changes["expires_at"] = _in(days)

    async def amend(state: State) -> KeyRecord:
        async with recorded(state.audit.append, shell_entry("key.change", key_id, **changes)):
            return await state.keyring.amend(key_id, changes)

    click.echo(as_text(_run(amend).shown))


@command.command("rotate")
@click.argument("key_id")
@click.option(
    "--overlap-hours",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="How long the old secret stays good.",
)
@_as_json
def rotate(key_id: str, overlap_hours: float, as_json: bool) -> None:
    """Give a key a new secret. It is shown this once."""
    overlap = overlap_hours * 3600

    async def renew(state: State) -> tuple[str, KeyRecord]:
        entry = shell_entry("key.rotate", key_id, overlap_seconds=overlap)
        async with recorded(state.audit.append, entry):
            return await state.keyring.rotate(key_id, overlap=overlap)

    _show_secret(*_run(renew), as_json=as_json)


@command.command("revoke")
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Revoke a key. Its running sessions end within 5 seconds."""

    async def end(state: State) -> None:
        async with recorded(state.audit.append, shell_entry("key.revoke", key_id)):
            await state.keyring.revoke(key_id)

    _run(end)
    click.echo(f"{key_id} is revoked")


def _run(action: Callable[[State], Awaitable[R]]) -> R:
    try:
        return on_state(action)
    except SurtitleError as error:
        fail(error.message)


def _numbers(limits: tuple[str, ...]) -> Mapping[str, int]:
    """Limits given as ``name=number``; ends the program on what is none."""
    found: dict[str, int] = {}
    try:
        for limit in limits:
            name, _, number = limit.partition("=")
            found[name.strip()] = int(number)
        check(found)
    except ValueError as error:
        fail(f"--limit: {error}", USAGE)
    return found


def _in(days: float | None) -> datetime | None:
    return None if days is None else datetime.now(UTC) + timedelta(days=days)


def _show_secret(key: str, record: KeyRecord, *, as_json: bool) -> None:
    if as_json:
        click.echo(as_text({"api_key": key, **record.shown}))
    else:
        click.echo(key)
        click.echo(f"{record.key_id} for {record.user_id}; the key is not shown again", err=True)


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M}"


def _state(record: KeyRecord) -> str:
    if record.revoked_at is not None:
        return "revoked"
    if record.expires_at is None:
        return "valid"
    expired = record.expires_at <= datetime.now(UTC)
    return f"{'expired' if expired else 'valid until'} {_day(record.expires_at)}"
