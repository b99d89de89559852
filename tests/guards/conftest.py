"""What several suites of the guards need."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guards.sqlite import Database
from tests.clock import Clock


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "surtitle.db")
    yield opened
    await opened.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()
