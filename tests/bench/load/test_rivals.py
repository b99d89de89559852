from __future__ import annotations

from pathlib import Path

import pytest

from bench.load import rivals
from bench.load.dialects import DIALECTS
from bench.load.servers import started


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    for name in rivals.RIVALS:
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").touch()
    return tmp_path


@pytest.mark.parametrize("kind", rivals.KINDS)
def test_each_rival_is_started_on_its_port_with_the_model(kind: str, installed: Path) -> None:
    command = rivals.command(kind, installed, port=9123, model=Path("/models/base"))
    assert command[0].startswith(str(installed / rivals.dialect(kind) / "bin"))
    assert "9123" in command
    assert "/models/base" in command
    assert rivals.dialect(kind) in DIALECTS
    assert rivals.PATHS[rivals.dialect(kind)].startswith("/")


def test_the_two_modes_of_whisperlive_differ(installed: Path) -> None:
    one, batch = (
        rivals.command(kind, installed, port=1, model=Path("m"))
        for kind in ("whisperlive", "whisperlive-batch")
    )
    assert (one[-1], batch[-1]) == ("single", "batch")


def test_what_is_not_installed_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"bench\.load\.rivals install"):
        rivals.command("whisperlivekit", tmp_path, port=1, model=Path("m"))
    with (
        pytest.raises(ValueError, match="where it is installed"),
        started("whisperlive", tmp_path, model=tmp_path, installed=None, variables={}),
    ):
        pass


def test_rivals_keep_to_their_own_home(tmp_path: Path) -> None:
    variables = rivals.environment(tmp_path)
    assert variables["HOME"] == str(tmp_path / "home")
    assert int(variables["OMP_NUM_THREADS"]) >= 1


def test_the_voice_detector_is_found_without_importing_its_package() -> None:
    assert rivals._detector().is_file()
