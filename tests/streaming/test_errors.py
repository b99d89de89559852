"""Every error of the tree is fit to be told."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from streaming import errors
from streaming.errors import SurtitleError
from streaming.wire import ErrorEvent


def tree(root: type[SurtitleError]) -> Iterator[type[SurtitleError]]:
    yield root
    for child in root.__subclasses__():
        yield from tree(child)


ALL = sorted(
    (kind for kind in tree(SurtitleError) if kind.__module__ == errors.__name__),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_errors_have_a_code_a_status_and_a_close_code(kind: type[SurtitleError]) -> None:
    error = kind("what is wrong", retry_after=1.5, field="x")
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert 400 <= error.status < 600
    assert error.close_code == 4000 + error.status
    assert isinstance(error.retryable, bool)
    event = ErrorEvent.of(error, segment=3)
    assert (event.code, event.message, event.fatal) == (error.code, "what is wrong", error.fatal)
    assert event.details == {"field": "x", "segment": 3}
    assert event.retry_after == 1.5
    assert str(error) == "what is wrong"


def test_codes_mean_one_thing() -> None:
    codes: dict[str, set[int]] = {}
    for kind in ALL:
        codes.setdefault(kind.code, set()).add(kind.status)
    assert all(len(statuses) == 1 for statuses in codes.values()), codes


def test_service_errors_are_worth_a_retry_and_protocol_errors_are_not() -> None:
    assert all(kind.retryable for kind in tree(errors.ServiceError))
    assert not any(kind.retryable for kind in tree(errors.ProtocolError))
    assert not any(kind.fatal for kind in tree(errors.ProtocolError))
    assert all(kind.fatal for kind in tree(errors.SessionEnded))
