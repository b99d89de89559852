from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from app.gpu import NvmlMemory, SmiMemory


class Nvml:
    """The binding of the driver's library, with GPUs of (used, total); None: has no memory."""

    class NVMLError(Exception):
        pass

    def __init__(self, *gpus: tuple[int, int] | None, driver: bool = True) -> None:
        self.gpus, self.driver = gpus, driver

    def nvmlInit(self) -> None:  # noqa: N802 - the library's name
        if not self.driver:
            raise self.NVMLError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 - the library's name
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - the library's name
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802 - the library's name
        gpu = self.gpus[handle]
        if gpu is None:
            raise self.NVMLError
        return SimpleNamespace(used=gpu[0], total=gpu[1])


def test_the_drivers_library_is_asked_for_each_gpu() -> None:
    assert NvmlMemory(Nvml((1000, 4000), None, (3000, 4000)))() == (25.0, 75.0)


def test_without_a_driver_there_is_no_gpu() -> None:
    assert NvmlMemory(Nvml((1, 2), driver=False))() == ()


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("echo '1000, 4000'; echo '3000, 4000'", (25.0, 75.0)),
        ("echo 'no devices were found'; exit 6", ()),
        ("echo '[N/A], [N/A]'", ()),
        ("true", ()),
    ],
)
def test_the_drivers_tool_is_asked(
    tmp_path: Path, script: str, expected: tuple[float, ...]
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o700)
    assert SmiMemory(str(tool))() == expected


def test_the_tool_is_asked_seldom(tmp_path: Path) -> None:
    tool, asked = tmp_path / "nvidia-smi", tmp_path / "asked"
    tool.write_text(f"#!/bin/sh\necho x >> {asked}\necho '1, 2'\n")
    tool.chmod(0o700)
    memory = SmiMemory(str(tool), every=3)
    assert [memory() for _ in range(4)] == [(50.0,)] * 4
    assert asked.read_text().count("x") == 2


def test_no_tool_is_no_gpu(tmp_path: Path) -> None:
    assert SmiMemory(str(tmp_path / "none"))() == ()
