from __future__ import annotations

import pytest

from guards.redis.address import Address, parse


@pytest.mark.parametrize(
    ("url", "mode", "tls", "hosts", "service", "db"),
    [
        ("redis://localhost", "redis", False, (("localhost", 6379),), "", 0),
        ("rediss://[::1]:7000/3", "redis", True, (("::1", 7000),), "", 3),
        ("redis://localhost?db=2", "redis", False, (("localhost", 6379),), "", 2),
        ("redis+sentinel://a,b:1/main/4", "sentinel", False, (("a", 26379), ("b", 1)), "main", 4),
        ("rediss+cluster://a:1,b", "cluster", True, (("a", 1), ("b", 6379)), "", 0),
    ],
)
def test_an_address_is_read(
    url: str, mode: str, tls: bool, hosts: tuple[tuple[str, int], ...], service: str, db: int
) -> None:
    assert parse(url) == Address(mode, url, tls, hosts, service, db)


def test_credentials_are_decoded_and_not_shown() -> None:
    address = parse("redis+cluster://us%40er:p%2Fss@a,b")
    assert (address.username, address.password) == ("us@er", "p/ss")
    assert parse("redis://:only@a").username is None
    assert parse("unix:///run/redis.sock?db=1").mode == "unix"
    assert "p/ss" not in repr(address)
    assert "p%2Fss" not in repr(address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://user:secret@a", "begins with one of"),
        ("redis://user:secret@", "names no host"),
        ("redis://user:secret@a:x", "port"),
        ("redis://user:secret@a/x", "no number"),
        ("redis://user:secret@a,b", "several hosts"),
        ("redis+sentinel://user:secret@a", "no service"),
        ("redis+cluster://user:secret@a/1", "database 0"),
    ],
)
def test_what_is_wrong_is_said_without_the_password(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse(url)
    assert "secret" not in str(caught.value)
