"""Addresses of Redis: one server, a Sentinel's primary, or a cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

_PORTS: Final = {"redis": 6379, "sentinel": 26379, "cluster": 6379}

_MODES: Final = {
    "redis": ("redis", False),
    "rediss": ("redis", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
    "unix": ("unix", False),
}


@dataclass(frozen=True, slots=True)
class Address:
    """What a ``REDIS_URL`` says. ``service`` is the name of a Sentinel's primary."""

    mode: str
    url: str = field(repr=False)
    tls: bool = False
    hosts: tuple[tuple[str, int], ...] = ()
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)


def parse(url: str) -> Address:
    """Read a URL; raises ``ValueError`` that says what is wrong and holds no password.

    ``redis://[user:password@]host[:port][/db]``, ``unix:///path``,
    ``redis+sentinel://[user:password@]host[:port],host[:port]/service[/db]``,
    ``redis+cluster://[user:password@]host[:port],host[:port]``; with TLS ``rediss…``.
    """
    parts = urlsplit(url)
    if parts.scheme not in _MODES:
        raise ValueError(f"begins with one of {', '.join(f'{scheme}://' for scheme in _MODES)}")
    mode, tls = _MODES[parts.scheme]
    if mode == "unix":
        return Address(mode, url)
    credentials, _, netloc = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    hosts = tuple(_host(part, _PORTS[mode]) for part in netloc.split(","))
    path = [part for part in parts.path.split("/") if part]
    service = ""
    if mode == "sentinel":
        if not path:
            raise ValueError("names no service: redis+sentinel://host/service")
        service = path.pop(0)
    elif mode == "redis" and len(hosts) > 1:
        raise ValueError("has several hosts: redis+sentinel:// or redis+cluster:// is meant")
    number = dict(parse_qsl(parts.query)).get("db", path[0] if path else "0")
    if not number.isdecimal():
        raise ValueError("names a database that is no number")
    if mode == "cluster" and int(number):
        raise ValueError("a cluster has only the database 0")
    return Address(
        mode,
        url,
        tls,
        hosts,
        service,
        int(number),
        unquote(username) or None,
        unquote(password) or None,
    )


def _host(text: str, default: int) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("has a port that is no number") from error
    if not host:
        raise ValueError("names no host")
    return host, port or default
