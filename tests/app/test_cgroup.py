from __future__ import annotations

from pathlib import Path

from app.cgroup import CpuLimit, MemoryLimit, cpu_limit, memory_limit

MIB = 1 << 20


def group(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")


def own(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "self"
    path.write_text("\n".join(lines))
    return path


def test_a_container_sees_its_own_group_at_the_root(tmp_path: Path) -> None:
    group(
        tmp_path / "fs",
        memory__max=512 * MIB,
        memory__current=400 * MIB,
        memory__stat=f"anon 5\ninactive_file {144 * MIB}",
        cpu__max="150000 100000",
        cpu__stat="usage_usec 2500000\nuser_usec 1",
    )
    found = memory_limit(tmp_path / "fs", own(tmp_path, "0::/"))
    assert found == MemoryLimit(512 * MIB, 256 * MIB)
    assert found.percent == 50
    assert cpu_limit(tmp_path / "fs", own(tmp_path, "0::/")) == CpuLimit(1.5, 2.5)


def test_limits_of_outer_groups_count_and_the_fullest_most(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    group(root)
    group(root / "system", memory__max=1000, memory__current=900, cpu__max="50000 100000")
    group(root / "system", cpu__stat="usage_usec 1000000")
    group(root / "system/unit", memory__max=800, memory__current=400, cpu__max="max 100000")
    here = own(tmp_path, "0::/system/unit")
    assert memory_limit(root, here) == MemoryLimit(1000, 900)
    assert cpu_limit(root, here) == CpuLimit(0.5, 1.0)


def test_version_one(tmp_path: Path) -> None:
    root = tmp_path / "fs"
    group(
        root / "memory/box",
        memory__limit_in_bytes=1000,
        memory__usage_in_bytes=500,
        memory__stat="total_inactive_file 100",
    )
    group(root / "memory", memory__limit_in_bytes=(1 << 63) - 4096, memory__usage_in_bytes=7)
    assert memory_limit(root, own(tmp_path, "4:cpuset:/x", "3:memory:/box")) == MemoryLimit(
        1000, 400
    )


def test_no_limit_and_no_groups(tmp_path: Path) -> None:
    group(tmp_path / "fs", memory__max="max", memory__current=5, cpu__max="max 100000")
    assert memory_limit(tmp_path / "fs", own(tmp_path, "0::/")) is None
    assert cpu_limit(tmp_path / "fs", own(tmp_path, "0::/")) is None
    assert memory_limit(tmp_path / "none", tmp_path / "nothing") is None
    assert cpu_limit(tmp_path / "none", tmp_path / "nothing") is None
