from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.support import client

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_information_for_programs_and_the_page_for_browsers(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        information = await http.get("/")
        assert information.json()["name"] == "Surtitle"
        assert information.json()["stream"] == "/v1/stream"
        page = await http.get("/", headers=BROWSER)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "<title>Surtitle" in page.text
        assert page.headers["vary"] == information.headers["vary"] == "Accept"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("app.js", "text/javascript; charset=utf-8"),
        ("style.css", "text/css; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
async def test_the_pages_files(tmp_path: Path, name: str, media_type: str) -> None:
    async with client(tmp_path) as (http, _):
        first = await http.get(f"/demo/{name}")
        assert first.status_code == 200
        assert first.headers["content-type"] == media_type
        assert first.headers["cache-control"] == "no-cache"
        again = await http.get(f"/demo/{name}", headers={"If-None-Match": first.headers["etag"]})
        assert again.status_code == 304
        assert again.content == b""


@pytest.mark.parametrize(
    "path",
    ["/demo/none.js", "/demo/%2e%2e/app/pages.py", "/demo/..%2f.env", "/demo/.git/x.js", "/demo/"],
)
async def test_nothing_else_is_served(tmp_path: Path, path: str) -> None:
    async with client(tmp_path) as (http, _):
        response = await http.get(path)
        assert response.status_code == 404
        assert response.json()["code"] == "not_found"


async def test_languages_have_libretranslates_shape(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        del http.headers["Authorization"]
        listing = (await http.get("/languages")).json()
        german = next(language for language in listing if language["code"] == "de")
        assert german == {
            "code": "de",
            "name": "German",
            "targets": ["de", "en", "pt"],
            "speech": True,
            "routes": [
                {"target": "de", "kind": "identity", "engine": "identity"},
                {"target": "en", "kind": "whisper", "engine": "whisper"},
                {"target": "pt", "kind": "whisper+pivot", "engine": "whisper+fake"},
            ],
        }
