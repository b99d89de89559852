from __future__ import annotations

import pytest

from bench.load.dialects import DIALECTS


@pytest.fixture
def no_tail(monkeypatch: pytest.MonkeyPatch) -> None:
    """One frame of quiet after the last word is enough here."""
    for dialect in DIALECTS.values():
        monkeypatch.setattr(dialect, "tail", (0.04, 0.04))
