"""How full the memory of NVIDIA GPUs is.

Asked of the driver's library where its Python binding (``nvidia-ml-py``, module ``pynvml``) is
installed, else of the driver's own tool, for which a process is started: seldom. Blocking.
"""

from __future__ import annotations

import contextlib
import importlib
import shutil
import subprocess
from collections.abc import Callable
from typing import Any, Final

_QUERY: Final = ("--query-gpu=memory.used,memory.total", "--format=csv,noheader,nounits")
_TOOL_SECONDS: Final = 10.0

GpuMemory = Callable[[], tuple[float, ...]]
"""Percent of its memory that is in use, for each GPU. No GPU, no figures."""


def gpu_memory() -> GpuMemory:
    """The best way there is here to ask."""
    with contextlib.suppress(ImportError):
        return NvmlMemory(importlib.import_module("pynvml"))
    tool = shutil.which("nvidia-smi")
    return SmiMemory(tool) if tool else tuple


class NvmlMemory:
    """Asks the driver's library. ``nvml`` is the module ``pynvml``."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml
        self._handles: list[Any] = []
        with contextlib.suppress(nvml.NVMLError):  # without a driver
            nvml.nvmlInit()
            count = nvml.nvmlDeviceGetCount()
            self._handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]

    def __call__(self) -> tuple[float, ...]:
        found = []
        for handle in self._handles:
            with contextlib.suppress(self._nvml.NVMLError):  # it has none of its own, or fell off
                memory = self._nvml.nvmlDeviceGetMemoryInfo(handle)
                found.append(100 * memory.used / memory.total)
        return tuple(found)


class SmiMemory:
    """Asks ``nvidia-smi``, at every tenth call only."""

    def __init__(self, tool: str, every: int = 10) -> None:
        self._tool = tool
        self._every = every
        self._calls = 0
        self._known: tuple[float, ...] = ()

    def __call__(self) -> tuple[float, ...]:
        if self._calls % self._every == 0:
            self._known = self._ask()
        self._calls += 1
        return self._known

    def _ask(self) -> tuple[float, ...]:
        try:
            answer = subprocess.run(  # noqa: S603 - a program found on the PATH at the start
                [self._tool, *_QUERY],
                capture_output=True,
                text=True,
                timeout=_TOOL_SECONDS,
                check=True,
            )
            rows = [line.split(",") for line in answer.stdout.splitlines() if line.strip()]
            return tuple(100 * float(used) / float(total) for used, total in rows)
        except (OSError, ValueError, ZeroDivisionError, subprocess.SubprocessError):
            return ()
