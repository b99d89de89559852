"""What several commands need."""

from __future__ import annotations

import sys
from typing import Any, Final, NoReturn

import click

from app.settings import Settings, SettingsError, load
from app.settings_report import unknown_variables

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
