"""The server's own OpenAPI document against the server, over real HTTP.

Whatever is sent, as the document has it or not, makes no 5xx, and every answer is one that the
document tells of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from guards.tiers import LIMITS
from tests.app.server_process import address_of, start
from tests.app.support import ADMIN_KEY

_EXAMPLES: Final = 100
_CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenApiSchema]:
    """The document of a server that runs on fakes, in its own process, without limits."""
    folder = tmp_path_factory.mktemp("server")
    tiers = folder / "tiers.toml"
    limits = "".join(f"{name} = 1_000_000_000\n" for name in LIMITS)
    tiers.write_text(f"[admin]\n{limits}", encoding="utf-8")
    with (folder / "server.log").open("wb") as log, asyncio.Runner() as runner:
        process = runner.run(start(folder, log, SURTITLE_TIERS_FILE=str(tiers)))
        address = runner.run(address_of(process))
        yield schemathesis.openapi.from_url(f"http://{address}/schema/openapi.json")
        process.kill()
        runner.run(process.communicate())


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_breaks_the_server(schema: OpenApiSchema, mode: GenerationMode) -> None:
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) > 20
    session = requests.Session()
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    asked = 0
    for operation in operations:
        # A server that drains refuses what comes after.
        if operation.path == "/admin/drain":
            continue
        if mode is GenerationMode.NEGATIVE and not (
            operation.body or operation.query or operation.path_parameters
        ):
            continue  # nothing of it can be wrong

        @settings(
            max_examples=_EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode))
        def ask(case: Case[Any]) -> None:
            nonlocal asked
            asked += 1
            response = case.call(session=session, headers=headers)
            case.validate_response(response, checks=_CHECKS)

        ask()
    print(f"{asked} requests")
    assert asked > 10 * len(operations)
