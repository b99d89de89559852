from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from litestar.exceptions import HTTPException, NotAuthorizedException

from app.problems import problem_of
from streaming.errors import Overloaded, PairUnsupported
from tests.app.support import admin, client


def test_our_errors_keep_their_code_and_details() -> None:
    problem = problem_of(PairUnsupported("No way.", source="de"))
    body = msgspec.json.decode(problem.body("r1"))
    assert body == {
        "type": "urn:surtitle:problem:pair_unsupported",
        "title": "Pair unsupported",
        "status": 400,
        "detail": "No way.",
        "code": "pair_unsupported",
        "retryable": False,
        "request_id": "r1",
        "source": "de",
    }


def test_retry_after_is_a_header_in_whole_seconds() -> None:
    problem = problem_of(Overloaded("Full.", retry_after=0.2))
    assert problem.retryable
    assert problem.all_headers()["Retry-After"] == "1"
    assert msgspec.json.decode(problem.body(""))["retry_after"] == 0.2


def test_details_never_hide_the_members_that_programs_rely_on() -> None:
    body = msgspec.json.decode(problem_of(Overloaded("Full.", status=200, code="x")).body(""))
    assert (body["status"], body["code"]) == (503, "overloaded")


def test_unexpected_errors_say_nothing_of_the_inside() -> None:
    problem = problem_of(ZeroDivisionError("secret /path/to/file"))
    assert problem.status == 500
    assert b"secret" not in problem.body("")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 415, 429, 418])
def test_the_frameworks_errors_get_codes(status: int) -> None:
    assert problem_of(HTTPException(status_code=status)).status == status
    assert problem_of(NotAuthorizedException()).code == "authentication_required"


async def test_every_http_error_is_a_problem(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        for response, status in (
            (await http.get("/nothing"), 404),
            (await http.put("/health"), 405),
            (await http.post("/translate/text", json={"text": 5}), 400),
            (await http.post("/translate/text", content=b"{"), 400),
            (await http.post("/translate/text", content=b"[" * 100_000), 400),
            (await http.post("/translate/text", content=b"\xff\xfe"), 400),
            (await http.post("/translate/text", content=b"x" * 2_000_000), 413),
            (await http.post("/transcribe/audio", content=b"x"), 415),
            (await http.get("/v1/stream"), 405),
        ):
            assert response.status_code == status, response.text
            assert response.headers["content-type"] == "application/problem+json"
            assert response.json()["status"] == status
            assert response.json()["request_id"] == response.headers["x-request-id"]


async def test_validation_names_the_fields(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        body: dict[str, Any] = {"text": "x", "target": "", "source": "en"}
        problem = (await http.post("/translate/text", json=body)).json()
        assert problem["code"] == "invalid_request"
        assert [(one["path"], one["in"]) for one in problem["errors"]] == [("target", "body")]


async def test_validation_quotes_nothing(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        body = {"user_id": "ana", "tier": "it's a\nsecret"}
        problem = await http.post("/auth/api-key", json=body, headers=admin())
        assert problem.status_code == 400
        assert problem.json()["errors"][0]["message"] == "Invalid enum value"
        assert "secret" not in problem.text


async def test_a_bug_is_a_500_without_internals(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):

        def broken() -> Any:
            raise RuntimeError("a secret inside")

        fakes.services.stats = broken
        response = await http.get("/health")
        assert response.status_code == 500
        assert response.json()["code"] == "internal_error"
        assert "secret" not in response.text


async def test_request_ids_are_echoed_when_they_are_harmless(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        echoed = await http.get("/health", headers={"X-Request-ID": "abc-1.2:3"})
        assert echoed.headers.get_list("x-request-id") == ["abc-1.2:3"]
        made = await http.get("/health", headers={"X-Request-ID": "a b\tc"})
        assert len(made.headers["x-request-id"]) == 16


async def test_security_headers_are_on_every_response(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        for path in ("/", "/nothing", "/health"):
            headers = (await http.get(path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "connect-src 'self' ws: wss:" in headers["content-security-policy"]
            assert headers["x-frame-options"] == "DENY"
            assert headers["permissions-policy"].startswith("microphone=(self), camera=()")
            assert "strict-transport-security" not in headers  # nothing here is encrypted


async def test_behind_tls_browsers_are_told_to_insist_on_it(tmp_path: Path) -> None:
    for seconds, told in ((0, None), (600, "max-age=600")):
        async with client(tmp_path, hsts_seconds=seconds) as (http, _):
            secure = await http.get("https://testserver.local/health")
            assert secure.headers.get("strict-transport-security") == told


async def test_other_origins_get_cors_only_when_listed(tmp_path: Path) -> None:
    asked = {
        "Origin": "https://talks.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization",
    }
    async with client(tmp_path, allowed_origins=("https://talks.example",)) as (http, _):
        allowed = await http.options("/v1/tickets", headers=asked)
        assert allowed.headers["access-control-allow-origin"] == "https://talks.example"
        other = await http.get("/health", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
