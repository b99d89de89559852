"""The benchmark of the guards measures what it says: one application with them, one without."""

from __future__ import annotations

from pathlib import Path

import httpx

from bench.guards import TEXT, Result, bare, markdown, measure, serving
from guards.usage import Amount
from tests.app.support import services


async def test_the_bare_application_lets_everyone_in_and_books_nothing(tmp_path: Path) -> None:
    async with services(tmp_path) as fakes:
        usage = fakes.services.metering.usage
        app = bare(fakes.services, fakes.record.principal)
        async with (
            serving(fakes.services, app) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http,
        ):
            answer = await http.post("/translate/text", json=TEXT)
        assert answer.status_code == 200
        assert "ratelimit" not in answer.headers
        day = fakes.record.created_at.date()
        assert await usage.total(fakes.record.key_id, day) == Amount()


async def test_it_compares_pairs_of_requests_and_of_sessions(tmp_path: Path) -> None:
    results = await measure("embedded", tmp_path, requests=4, sessions=2)
    assert [(one.what, one.pairs) for one in results] == [("request", 4), ("session", 2)]
    assert all(one.guarded_p50 > 0 and one.bare_p50 > 0 for one in results)


def test_the_page() -> None:
    result = Result("embedded", "request", 10, 0.3, 0.7, 0.4, 1.0, 1.5)
    page = markdown([result], {"cpu": "C", "cores": 2, "python": "3.11", "load": 1.0})
    assert "| embedded | request | 10 | 0.30 | 0.70 | **0.40** | 1.00 | 1.5 |" in page
