"""What a container or a service unit may use, by the control groups of Linux (version 1 and 2).

The host's memory says nothing where a group's limit is lower: the kernel ends the process at that
limit. Elsewhere than on Linux, and without limits, there is nothing to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path("/sys/fs/cgroup")
OWN: Final = Path("/proc/self/cgroup")

_UNLIMITED: Final = 1 << 60
"""Version 1 has no word for it: the largest number of pages there is."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Bytes that may be used, and that are."""

    limit: int
    used: int
    """Without files that are only cached and can be given back."""

    @property
    def percent(self) -> float:
        return 100 * self.used / self.limit


@dataclass(frozen=True, slots=True)
class CpuLimit:
    """Processors that may be used at once, and seconds of them used so far."""

    cores: float
    used: float


def memory_limit(root: Path = ROOT, own: Path = OWN) -> MemoryLimit | None:
    """The tightest limit on memory of the groups this process is in, or None."""
    limits = []
    for folder in _folders(root, own, "memory"):
        limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes")
        used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
        if limit is None or used is None or not 0 < limit < _UNLIMITED:
            continue
        stat = _table(folder / "memory.stat")
        cached = stat.get("inactive_file", stat.get("total_inactive_file", 0))
        limits.append(MemoryLimit(limit, max(0, used - cached)))
    return max(limits, key=lambda each: each.percent, default=None)


def cpu_limit(root: Path = ROOT, own: Path = OWN) -> CpuLimit | None:
    """The tightest limit on processors of the groups this process is in, or None (version 2)."""
    limits = []
    for folder in _folders(root, own, "cpu"):
        quota, _, period = _text(folder / "cpu.max").partition(" ")
        used = _table(folder / "cpu.stat").get("usage_usec")
        if quota.isdigit() and period.isdigit() and int(period) and used is not None:
            limits.append(CpuLimit(int(quota) / int(period), used / 1e6))
    return min(limits, key=lambda each: each.cores, default=None)


def _folders(root: Path, own: Path, controller: str) -> Iterator[Path]:
    """The folders of the groups this process is in, innermost first.

    In a container the outermost that can be seen is its own group.
    """
    for line in _text(own).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        inner = top / path.lstrip("/")
        for folder in (inner, *inner.parents):
            yield folder
            if folder == top:
                break


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdigit() else None


def _table(path: Path) -> dict[str, int]:
    rows = (line.split() for line in _text(path).splitlines())
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdigit()}  # noqa: PLR2004 - a name and a number
