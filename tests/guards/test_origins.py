from __future__ import annotations

import pytest

from guards.origins import OriginPolicy, normalize


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000"),
        ("https://captions.example.org", "captions.example.org"),
        ("https://captions.example.org", "captions.example.org:443"),
        ("https://Captions.Example.org:443", "captions.example.org"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_the_same_origin_is_always_permitted(origin: str, host: str) -> None:
    assert OriginPolicy().permits(origin, host)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("https://evil.example", "captions.example.org"),
        ("https://captions.example.org.evil.example", "captions.example.org"),
        ("http://127.0.0.1:8001", "127.0.0.1:8000"),
        ("http://localhost:8000", "127.0.0.1:8000"),
        ("null", "127.0.0.1:8000"),
        ("null", ""),
        ("", ""),
        ("garbage", "garbage"),
        ("http://[broken", "[broken"),
        ("https://a.example:99999", "a.example:99999"),
        ("https://a.example/path", "a.example"),
    ],
)
def test_others_are_not(origin: str, host: str) -> None:
    assert not OriginPolicy().permits(origin, host)


def test_those_on_the_list_are() -> None:
    policy = OriginPolicy(["https://Talks.example.org/", "null"])
    assert policy.permits("https://talks.example.org", "captions.example.org")
    assert policy.permits("null", "captions.example.org")
    assert not policy.permits("http://talks.example.org", "captions.example.org")


def test_a_star_permits_all() -> None:
    assert OriginPolicy(["*"]).permits("https://anything.example", "captions.example.org")


@pytest.mark.parametrize("text", ["example.org", "https://", "https://a/b", "https://a?b", ""])
def test_what_is_no_origin_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        normalize(text)
