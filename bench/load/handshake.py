"""How a client gets in, or is told that it doesn't."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Final

import websockets

from bench.load.dialects import Dialect
from bench.load.plan import Plan

_GREETING: Final = 60.0
"""How long, in seconds, a client waits to be let in."""


def connection(plan: Plan, tenant: int) -> websockets.connect:
    return websockets.connect(
        plan.url,
        additional_headers=plan.headers[tenant],
        max_size=None,
        compression=None,
        ping_interval=None,
        open_timeout=_GREETING,
    )


async def greet(socket: websockets.ClientConnection, dialect: Dialect) -> None:
    for message in dialect.opening():
        await socket.send(message)
    while not dialect.ready and not dialect.refused:
        dialect.receive(0.0, await asyncio.wait_for(socket.recv(), _GREETING))


def refusal(error: websockets.InvalidStatus) -> tuple[str, float | None]:
    """The status with the problem's code, and when to come again."""
    response = error.response
    code = ""
    with contextlib.suppress(ValueError, AttributeError):
        code = json.loads(response.body or b"{}").get("code", "")
    wait = response.headers.get("Retry-After", "")
    return f"{response.status_code} {code}".strip(), float(wait) if wait.isdigit() else None
