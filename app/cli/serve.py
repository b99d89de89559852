"""``surtitle serve``."""

from __future__ import annotations

import sys

import click

from app.cli.common import USAGE, fail, load_settings
from app.settings import SettingsError


@click.command("serve")
@click.option("--host", help="Address to listen on (SURTITLE_HOST).")
@click.option("--port", type=int, help="Port to listen on (SURTITLE_PORT).")
@click.option("--ssl-certfile", help="TLS certificate chain, PEM (SURTITLE_SSL_CERTFILE).")
@click.option("--ssl-keyfile", help="TLS private key, PEM (SURTITLE_SSL_KEYFILE).")
def command(
    host: str | None, port: int | None, ssl_certfile: str | None, ssl_keyfile: str | None
) -> None:
    """Serve until stopped: Ctrl-C, or SIGTERM."""
    settings = load_settings(
        host=host, port=port, ssl_certfile=ssl_certfile, ssl_keyfile=ssl_keyfile
    )
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
