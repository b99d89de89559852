"""Which web pages may open a WebSocket here.

Browsers let any page open a WebSocket to any server and only say where the page is from; unlike
with fetch, it is the server that has to look (RFC 6455, section 10.2). Programs that are no
browsers send no Origin, and are not asked for one.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def normalize(origin: str) -> str:
    """An origin in the one spelling that is compared: lower case, no default port, no slash.

    Raises ``ValueError`` for what is no origin. ``null`` and ``*`` stay as they are.
    """
    text = origin.strip().lower()
    if text in ("*", "null"):
        return text
    parts = urlsplit(text)
    if not parts.scheme or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise ValueError(f"{origin!r} is no origin; one looks like https://captions.example.org")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    if parts.port is None or parts.port == _DEFAULT_PORTS.get(parts.scheme):
        return f"{parts.scheme}://{host}"
    return f"{parts.scheme}://{host}:{parts.port}"


class OriginPolicy:
    """Same origin, and those on a list. ``*`` on the list allows every page."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self.allowed = frozenset(normalize(origin) for origin in allowed)

    def permits(self, origin: str, host: str) -> bool:
        """Whether a page of ``origin`` may connect, having asked for ``host`` (the Host header).

        The scheme is not compared for the same origin: behind a proxy that ends TLS the server
        can't know which one the page was loaded with.
        """
        if "*" in self.allowed:
            return True
        try:
            page = normalize(origin)
        except ValueError:
            return False
        if page in self.allowed:
            return True
        scheme = page.partition("://")[0]
        try:
            return page == normalize(f"{scheme}://{host}")
        except ValueError:
            return False
