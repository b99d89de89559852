"""The published schemas. A changed snapshot is a changed interface: renew them on purpose with
``SURTITLE_UPDATE_SNAPSHOTS=1``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.app.support import client

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.mark.parametrize("name", ["protocol", "asyncapi", "openapi"])
async def test_the_interface_is_as_it_was(tmp_path: Path, name: str) -> None:
    async with client(tmp_path) as (http, _):
        found = (await http.get(f"/schema/{name}.json")).json()
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    snapshot = SNAPSHOTS / f"{name}.json"
    if os.environ.get("SURTITLE_UPDATE_SNAPSHOTS") == "1":
        snapshot.write_text(text, encoding="utf-8")
    assert snapshot.read_text(encoding="utf-8") == text


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for item in value.values() for found in references(item)]
    if isinstance(value, list):
        return [found for item in value for found in references(item)]
    return []


@pytest.mark.parametrize("name", ["protocol", "asyncapi", "openapi"])
async def test_every_reference_leads_somewhere(tmp_path: Path, name: str) -> None:
    async with client(tmp_path) as (http, _):
        document = (await http.get(f"/schema/{name}.json")).json()
    for reference in references(document):
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


async def test_openapi_names_credentials_and_has_examples(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        document = (await http.get("/schema")).json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    operation = document["paths"]["/transcribe/audio"]["post"]
    assert operation["security"]
    form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["properties"]["file"]["format"] == "binary"
    assert operation["responses"]["200"]["content"]["application/json"]["examples"]
    problem = operation["responses"]["413"]["content"]["application/problem+json"]
    assert problem["schema"]["$ref"].endswith("ProblemDetails")
