"""The command line, with settings and data of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.settings import Settings, variable


def own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, data and work in ``tmp_path``."""
    for name in Settings.model_fields:
        monkeypatch.delenv(variable(name), raising=False)
    monkeypatch.setenv("SURTITLE_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)
