"""The command line. ``surtitle --help`` imports click alone; commands import what they need."""

from __future__ import annotations

import importlib
from typing import Final

import click

_COMMANDS: Final = {
    "serve": "Serve on the configured address.",
    "settings": "Show the effective settings and where they come from.",
    "calibrate": "Measure how workers and batches are best arranged on this machine.",
    "models": "List, check and fetch speech models.",
    "keys": "Create, list, change, rotate and revoke API keys.",
    "usage": "Show what was used.",
    "backup": "Copy keys, usage and audit log while serving, and put them back.",
    "health": "Say whether the server of these settings is ready.",
    "sessions": "List and end the running streams of a server.",
    "admin": "Run a server: its caches, limits, log, drain and audit log.",
    "transcribe": "Transcribe an audio file.",
    "stream": "Caption a file or the microphone live.",
}


class _Lazy(click.Group):
    """Commands by name: ``app.cli.<name>`` is imported when ``<name>`` is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"app.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="surtitle", message="%(version)s")
def main() -> None:
    """Live speech, translated while it is spoken."""
