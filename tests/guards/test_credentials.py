from __future__ import annotations

from typing import Any

import pytest
from litestar.connection import ASGIConnection

from guards.credentials import address_of, agreed_subprotocol, presented
from guards.errors import AuthenticationRequired, CredentialInQuery, InvalidCredential
from guards.secrets import PREFIX


def connection(
    kind: str = "websocket", query: str = "", offers: list[str] | None = None, **headers: str
) -> ASGIConnection[Any, Any, Any, Any]:
    scope: Any = {
        "type": kind,
        "path": "/v1/stream",
        "query_string": query.encode(),
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
        "client": ("192.0.2.1", 1),
    }
    if offers is not None:
        scope["subprotocols"] = offers
    return ASGIConnection(scope)


@pytest.mark.parametrize(
    ("given", "text", "is_ticket"),
    [
        (connection(authorization="Bearer secret"), "secret", False),
        (connection(authorization="bearer  secret "), "secret", False),
        (connection(x_api_key="secret"), "secret", False),
        (connection("http", x_api_key="secret"), "secret", False),
        (connection(authorization="Bearer secret", x_api_key="other"), "secret", False),
        (connection(authorization="Basic eA==", x_api_key="secret"), "secret", False),
        (connection(offers=["surtitle.v1", "surtitle.bearer.secret"]), "secret", False),
        (connection(query="ticket=tk_1"), "tk_1", True),
        (connection(query="ticket=tk_1", x_api_key="secret"), "secret", False),
        (connection(query="ticket=tk_1", offers=["surtitle.bearer.secret"]), "secret", False),
    ],
)
def test_where_a_credential_is_found(given: Any, text: str, is_ticket: bool) -> None:
    found = presented(given)
    assert (found.text, found.is_ticket) == (text, is_ticket)
    assert text not in repr(found)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (connection(), AuthenticationRequired),
        (connection("http"), AuthenticationRequired),
        (connection("http", query="ticket=tk_1"), AuthenticationRequired),
        (connection(offers=["surtitle.v1", "other"]), AuthenticationRequired),
        (connection(authorization="Bearer"), InvalidCredential),
        (connection(authorization="Basic eA=="), InvalidCredential),
        (connection(query="token=x"), CredentialInQuery),
        (connection(query="X-API-Key=x", x_api_key="secret"), CredentialInQuery),
        (connection(query=f"q={PREFIX}x"), CredentialInQuery),
        (connection(query="ticket=eyJhbGciOiJub25lIn0.e30."), CredentialInQuery),
    ],
)
def test_what_is_refused(given: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        presented(given)


def test_our_subprotocol_is_answered_if_it_was_offered() -> None:
    assert agreed_subprotocol(connection(offers=["x", "surtitle.v1"])) == "surtitle.v1"
    assert agreed_subprotocol(connection(offers=["surtitle.bearer.secret"])) is None
    assert agreed_subprotocol(connection("http")) is None


def test_the_address() -> None:
    assert address_of(connection()) == "192.0.2.1"
    unknown = connection()
    unknown.scope["client"] = None
    assert address_of(unknown) == ""
