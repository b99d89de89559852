from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.server import ALL_COMERS, Server, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One real server for all end-to-end tests."""
    with serving(tmp_path_factory.mktemp("server"), **ALL_COMERS) as running:
        yield running
