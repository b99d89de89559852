"""The translation services of the settings, and what keeps up with them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from app.breakers import Breakers
from app.settings import Settings
from app.translator_settings import RemoteTranslator
from inference.engine import RemoteEngine
from inference.languages import canonical
from inference.remote import RemoteClient
from inference.remote_chat import ChatEngine
from inference.remote_libre import LibreTranslateEngine
from inference.routing import First
from inference.translator import TextTranslator

FRESH_SECONDS: Final = 600.0
"""How often services are asked what they translate."""
RETRY_SECONDS: Final = 10.0
"""How often, while one of them does not answer."""


def build_remotes(settings: Settings, breakers: Breakers) -> list[RemoteEngine]:
    """An engine for each service, behind a breaker ``translator:<name>``."""
    return [_remote(name, one, breakers) for name, one in settings.translators.items()]


async def keep_up(translator: TextTranslator, changed: Callable[[], Awaitable[None]]) -> None:
    """Ask the services what they translate, for ever; ``changed`` is called when that is new."""
    while True:
        before = translator.pairs
        answered = await translator.refresh()
        if translator.pairs != before:
            await changed()
        await asyncio.sleep(FRESH_SECONDS if answered else RETRY_SECONDS)


def _remote(name: str, settings: RemoteTranslator, breakers: Breakers) -> RemoteEngine:
    key = None if settings.api_key is None else settings.api_key.get_secret_value()
    chat = settings.dialect == "openai"
    client = RemoteClient(
        name,
        settings.url,
        breaker=breakers.breaker(f"translator:{name}"),
        timeout=settings.timeout_seconds,
        connections=settings.connections,
        headers={"Authorization": f"Bearer {key}"} if chat and key else None,
    )
    version = f"{settings.dialect} {settings.url} {settings.model or ''}"
    first = _first(settings)
    if chat:
        return ChatEngine(
            client,
            version=version,
            model=settings.model or "",
            languages=settings.tags,
            first=first,
            at_once=settings.connections,
        )
    return LibreTranslateEngine(
        client,
        version=version,
        api_key=key,
        languages=settings.tags,
        first=first,
        at_once=settings.connections,
    )


def _first(settings: RemoteTranslator) -> First:
    pairs = settings.first_pairs
    if isinstance(pairs, bool):
        return pairs
    return frozenset((canonical(a) or a, canonical(b) or b) for a, b in pairs)
