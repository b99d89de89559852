"""Remote engines as tests want them: impatient."""

from __future__ import annotations

import time
from collections.abc import Callable

from inference.remote import RemoteClient
from inference.remote_chat import ChatEngine
from inference.remote_libre import LibreTranslateEngine
from inference.routing import First
from streaming.breaker import BreakerPolicy, CircuitBreaker

DIALECTS = ("libretranslate", "chat")


def remote(
    dialect: str,
    url: str,
    *,
    name: str = "elsewhere",
    timeout: float = 20.0,
    policy: BreakerPolicy | None = None,
    clock: Callable[[], float] = time.monotonic,
    key: str | None = None,
    first: First = False,
) -> LibreTranslateEngine | ChatEngine:
    """An engine of a dialect, behind a breaker of its own."""
    breaker = CircuitBreaker(f"translator:{name}", policy or BreakerPolicy(), clock=clock)
    headers = {"Authorization": f"Bearer {key}"} if key and dialect == "chat" else None
    client = RemoteClient(
        name, url, breaker=breaker, timeout=timeout, connections=4, headers=headers
    )
    if dialect == "chat":
        return ChatEngine(
            client, version="1", model="small", languages=["en", "pt-BR"], first=first
        )
    return LibreTranslateEngine(client, version="1", api_key=key, first=first)
