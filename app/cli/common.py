"""What several commands need."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click
import msgspec

from app.settings import Settings, SettingsError, load
from app.settings_report import unknown_variables

if TYPE_CHECKING:  # it imports the clients of all stores
    from app.state import State
    from guards.audit import AuditEntry

R = TypeVar("R")

USAGE: Final = 2
"""Exit code for what the caller got wrong: options and settings."""


def fail(message: str, code: int = 1) -> NoReturn:
    """Say what is wrong, in one line on stderr, and leave."""
    click.echo(message, err=True)
    sys.exit(code)


def load_settings(**overrides: Any) -> Settings:
    """The effective settings; what is wrong with them ends the program with one line."""
    try:
        settings = load(**overrides)
    except SettingsError as error:
        fail(str(error), USAGE)
    for line in unknown_variables():
        click.echo(f"warning: {line}", err=True)
    return settings


def as_text(value: Any) -> str:
    """A value as JSON for people and programs, moments in ISO 8601."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def on_state(action: Callable[[State], Awaitable[R]]) -> R:
    """What ``action`` gives on the state of the settings; ends the program if it can't be had."""
    from app.state import opened
    from guards.errors import StoreUnavailable

    settings = load_settings()

    async def run() -> R:
        async with opened(settings) as state:
            return await action(state)

    try:
        return asyncio.run(run())
    except SettingsError as error:
        fail(str(error))
    except StoreUnavailable as error:
        fail(error.message)


def shell_entry(action: str, target: str = "", **details: Any) -> AuditEntry:
    """Who has a shell on the server is an administrator, known by the name of the account."""
    from guards.audit import AuditEntry

    return AuditEntry(
        at=datetime.now(UTC),
        key_id="",
        user_id=f"shell:{getpass.getuser()}",
        action=action,
        target=target,
        details=details,
    )
