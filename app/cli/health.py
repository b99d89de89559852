"""``surtitle health``: for supervisors that ask by running a program."""

from __future__ import annotations

import http.client
import json
import ssl
import sys
from typing import Final

import click

from app.cli.common import fail, load_settings
from app.settings import Settings

_ANYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@click.command("health")
@click.option("--timeout", type=click.FloatRange(min=0.1), default=3.0, show_default=True)
def command(timeout: float) -> None:
    """Say whether the server of these settings, on this machine, is ready.

    Exit code 0 when it is, 1 when it is starting, draining or not there.
    """
    settings = load_settings()
    connection = _connection(settings, timeout)
    try:
        connection.request("GET", "/health/simple")
        response = connection.getresponse()
        status = str(json.loads(response.read())["status"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        fail(f"no answer from {settings.host}, port {settings.port}: {error}")
    finally:
        connection.close()
    click.echo(status)
    sys.exit(0 if response.status == http.client.OK else 1)


def _connection(settings: Settings, timeout: float) -> http.client.HTTPConnection:
    host = _ANYWHERE.get(settings.host, settings.host)
    if settings.ssl_certfile is None:
        return http.client.HTTPConnection(host, settings.port, timeout=timeout)
    # The certificate is known, and is for a name by which others reach this machine.
    context = ssl.create_default_context(cafile=str(settings.ssl_certfile))
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return http.client.HTTPSConnection(host, settings.port, timeout=timeout, context=context)
