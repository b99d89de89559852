"""``surtitle serve``."""

from __future__ import annotations

import sys

import click

from app.cli.common import USAGE, fail, load_settings
from app.settings import SettingsError


@click.command("serve")
@click.option("--host", help="Address to listen on (SURTITLE_HOST).")
@click.option("--port", type=int, help="Port to listen on (SURTITLE_PORT).")
def command(host: str | None, port: int | None) -> None:
    """Serve until stopped: Ctrl-C, or SIGTERM."""
    settings = load_settings(host=host, port=port)
    from app.server import ServeError, leave, serve

    try:
        code = serve(settings, say=_say)
    except SettingsError as error:
        fail(str(error), USAGE)
    except ServeError as error:
        fail(str(error))
    leave(code)


def _say(line: str) -> None:
    click.echo(line)
    # Seen at once, also in a file or a journal.
    sys.stdout.flush()
