from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streaming.errors import Overloaded
from streaming.types import Priority
from tests.app.support import client


async def test_one_text_and_the_cache(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):
        body = {"text": "Good morning.", "source": "en", "target": "pt"}
        first = await http.post("/translate/text", json=body)
        assert first.status_code == 200
        expected = {
            "translation": "[pt] GOOD MORNING.",
            "source": "en",
            "target": "pt",
            "engine": "fake",
            "cached": False,
        }
        assert first.json() == expected
        assert (await http.post("/translate/text", json=body)).json() == expected | {"cached": True}
        assert len(fakes.translator.jobs) == 1
        assert fakes.translator.jobs[0].priority is Priority.PARTIAL
        assert fakes.translator.jobs[0].tenant == "ana"


async def test_the_text_is_cleaned_and_html_is_text(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):
        text = "<b>Sa\u0303o\x00 Paulo</b> & <script>"
        body = {"text": text, "source": "en", "target": "pt"}
        answer = await http.post("/translate/text", json=body)
        assert [job.text for job in fakes.translator.jobs] == ["<b>São Paulo</b> & <script>"]
        assert answer.json()["translation"] == "[pt] <B>SÃO PAULO</B> & <SCRIPT>"
        body["text"] = "<b>São Paulo</b> & <script>"
        assert (await http.post("/translate/text", json=body)).json()["cached"]
        body["text"] = "\x00\x07"
        assert (await http.post("/translate/text", json=body)).json()["translation"] == ""


async def test_a_list_keeps_its_order_and_blanks(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):
        body = {"text": ["Hello.", "", "  ", "Goodbye."], "source": "en", "target": "pt"}
        answer = (await http.post("/translate/text", json=body)).json()
        assert answer["translation"] == ["[pt] HELLO.", "", "  ", "[pt] GOODBYE."]
        assert not answer["cached"]
        assert (await http.post("/translate/text", json=body)).json()["cached"]
        # Each has a segment of its own: none may supersede another.
        assert len({job.segment for job in fakes.translator.jobs}) == 2


async def test_the_language_is_detected(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        answer = await http.post("/translate/text", json={"text": "Bom dia.", "target": "en"})
        assert answer.json()["source"] == "pt"
        assert answer.json()["translation"] == "[en] BOM DIA."


@pytest.mark.parametrize(
    ("text", "translation"), [("", ""), ([], []), (["", " "], ["", " "]), (" \n", "")]
)
async def test_nothing_translates_to_nothing(tmp_path: Path, text: Any, translation: Any) -> None:
    async with client(tmp_path) as (http, fakes):
        answer = await http.post("/translate/text", json={"text": text, "target": "pt"})
        assert answer.status_code == 200
        assert answer.json()["translation"] == translation
        assert answer.json()["source"] is None
        assert not fakes.translator.jobs


async def test_regional_tags_and_the_same_language(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        body = {"text": "Hello.", "source": "en-GB", "target": "pt-BR"}
        assert (await http.post("/translate/text", json=body)).json()["target"] == "pt"
        same = {"text": "Hello.", "source": "en", "target": "en"}
        answer = (await http.post("/translate/text", json=same)).json()
        assert (answer["translation"], answer["engine"]) == ("Hello.", "identity")


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"text": "x", "source": "en", "target": "de"}, 400, "pair_unsupported"),
        ({"text": "x", "source": "en", "target": "klingonish"}, 400, "unknown_language"),
        ({"text": "x", "source": "xx-yy-zz", "target": "pt"}, 400, "unknown_language"),
        ({"text": "12 + 3", "target": "pt"}, 400, "unknown_language"),
        ({"text": "x" * 50_001, "source": "en", "target": "pt"}, 413, "text_too_long"),
        ({"text": ["x"] * 1001, "source": "en", "target": "pt"}, 400, "invalid_request"),
        ({"text": {"a": 1}, "source": "en", "target": "pt"}, 400, "invalid_request"),
        ({"source": "en", "target": "pt"}, 400, "invalid_request"),
        ([], 400, "invalid_request"),
        (None, 400, "invalid_request"),
    ],
)
async def test_what_is_wrong_is_said(tmp_path: Path, body: Any, status: int, code: str) -> None:
    async with client(tmp_path) as (http, _):
        response = await http.post("/translate/text", json=body)
        assert (response.status_code, response.json()["code"]) == (status, code)


async def test_an_unserved_pair_names_what_is(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        body = {"text": "x", "source": "en", "target": "de"}
        problem = (await http.post("/translate/text", json=body)).json()
        assert problem["possible"] == ["en", "pt"]


async def test_overload_is_retryable(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):
        fakes.translator.fail_next(Overloaded("Full.", retry_after=3))
        body = {"text": "Hello.", "source": "en", "target": "pt"}
        response = await http.post("/translate/text", json=body)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "3"
        assert (await http.post("/translate/text", json=body)).status_code == 200
