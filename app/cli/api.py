"""A server's HTTP interface, for commands."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click
import httpx

from app.cli.common import fail

F = TypeVar("F", bound=Callable[..., Any])

_TIMEOUT_SECONDS = 30.0


def server_options(command: F) -> F:
    """The options of a command that asks a server."""
    command = click.option("--key", envvar="SURTITLE_KEY", help="Admin key (SURTITLE_KEY).")(
        command
    )
    return click.option(
        "--server",
        envvar="SURTITLE_SERVER",
        default="http://127.0.0.1:8000",
        show_default=True,
        help="The server.",
    )(command)


def call(
    server: str, key: str | None, method: str, path: str, body: Any = None, **query: Any
) -> Any:
    """The answer's JSON, or None; what the server refuses ends the program with one line."""
    address = server.rstrip("/").replace("ws://", "http://", 1).replace("wss://", "https://", 1)
    try:
        response = httpx.request(
            method,
            address + path,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            json=body,
            params={name: value for name, value in query.items() if value is not None},
            timeout=_TIMEOUT_SECONDS,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"{server} can't be reached: {error}")
    if response.is_success:
        return response.json() if response.content else None
    return fail(refusal(server, response))


def refusal(server: str, response: httpx.Response) -> str:
    """What a server said when it refused, in one line."""
    try:
        problem = json.loads(response.content)
        return f"{problem['code']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"{server} answered with HTTP {response.status_code}"
