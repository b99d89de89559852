from __future__ import annotations

import inspect

import pytest

from guards import errors
from streaming.errors import SurtitleError

ERRORS = [
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, SurtitleError) and error.__module__ == errors.__name__
]


@pytest.mark.parametrize("error", ERRORS)
def test_each_refusal_has_a_status_and_a_close_code(error: type[SurtitleError]) -> None:
    refusal = error("why", retry_after=2.0, detail="x")
    assert 400 <= refusal.status < 600
    assert refusal.close_code == 4000 + refusal.status
    assert refusal.code.replace("_", "").isalpha()
    assert refusal.message == "why"
    assert refusal.details == {"detail": "x"}


def test_what_ends_a_running_session_is_fatal() -> None:
    assert errors.KeyRevoked.fatal
    assert errors.ExpiredCredential.fatal
    assert errors.Draining.fatal
