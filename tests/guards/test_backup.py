"""Backups: of one moment while others write, whole or not at all, and never over anything."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from guards.backup import DATABASE, BackupError, create, restore
from guards.secrets import PEPPER_FILE, load_pepper
from guards.sqlite import Database
from guards.sqlite_keys import SqliteKeyStore
from tests.guards.records import AT, record

PEPPER = b"a pepper that is set for all servers"


async def state(folder: Path, *numbers: int) -> bytes:
    """A data directory with some keys, which nobody has open; its pepper."""
    database = await Database.open(folder / DATABASE)
    for number in numbers:
        await SqliteKeyStore(database).put(record(number))
    await database.close()
    return load_pepper(folder)


async def keys_of(folder: Path) -> list[str]:
    database = await Database.open(folder / DATABASE)
    try:
        return [found.key_id for found in await SqliteKeyStore(database).listing()]
    finally:
        await database.close()


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


async def test_what_is_backed_up_comes_back(tmp_path: Path) -> None:
    pepper = await state(tmp_path / "here", 1, 2)
    manifest = create(tmp_path / "here", tmp_path / "backup")
    assert manifest.keys == 2
    assert modes(tmp_path) | {"here": 0o700, "backup": 0o700} == modes(tmp_path)
    assert modes(tmp_path / "backup") == {DATABASE: 0o600, PEPPER_FILE: 0o600, "backup.json": 0o600}
    assert restore(tmp_path / "backup", tmp_path / "there") == manifest
    assert await keys_of(tmp_path / "there") == ["key_1", "key_2"]
    assert load_pepper(tmp_path / "there") == pepper
    assert set(modes(tmp_path / "there").values()) == {0o600}


async def test_a_backup_is_of_one_moment_while_others_write(tmp_path: Path) -> None:
    await state(tmp_path / "here", 1)
    database = await Database.open(tmp_path / "here" / DATABASE)
    store = SqliteKeyStore(database)

    async def write() -> None:
        for number in range(2, 200):
            await store.put(record(number))

    writing = asyncio.create_task(write())
    folders = [tmp_path / f"backup-{number}" for number in range(5)]
    counts = [(await asyncio.to_thread(create, tmp_path / "here", one)).keys for one in folders]
    await writing
    await database.close()
    assert counts == sorted(counts)
    for number, (folder, count) in enumerate(zip(folders, counts, strict=True)):
        there = tmp_path / f"there-{number}"
        restore(folder, there)
        assert set(await keys_of(there)) == {f"key_{one}" for one in range(1, count + 1)}


async def test_a_backup_overwrites_nothing(tmp_path: Path) -> None:
    await state(tmp_path / "here", 1)
    (tmp_path / "backup").mkdir()
    with pytest.raises(BackupError, match="there already"):
        create(tmp_path / "here", tmp_path / "backup")
    assert list((tmp_path / "backup").iterdir()) == []


async def test_a_restore_replaces_only_when_told_and_keeps_what_was(tmp_path: Path) -> None:
    await state(tmp_path / "here", 1)
    create(tmp_path / "here", tmp_path / "backup")
    theirs = await state(tmp_path / "there", 2, 3)
    with pytest.raises(BackupError, match="there already"):
        restore(tmp_path / "backup", tmp_path / "there")
    assert await keys_of(tmp_path / "there") == ["key_2", "key_3"]
    restore(tmp_path / "backup", tmp_path / "there", replace=True)
    assert await keys_of(tmp_path / "there") == ["key_1"]
    (kept,) = (tmp_path / "there").glob(f"{DATABASE}.replaced-*")
    with sqlite3.connect(kept) as before:
        assert before.execute("SELECT count(*) FROM api_keys").fetchone() == (2,)
    before.close()
    (pepper,) = (tmp_path / "there").glob(f"{PEPPER_FILE}.replaced-*")
    assert pepper.read_bytes() == theirs
    assert set(modes(tmp_path / "there").values()) == {0o600}


async def test_a_restore_waits_for_no_server_to_end(tmp_path: Path) -> None:
    await state(tmp_path / "here", 1)
    create(tmp_path / "here", tmp_path / "backup")
    database = await Database.open(tmp_path / "here" / DATABASE)
    await SqliteKeyStore(database).put(record(2))
    with pytest.raises(BackupError, match="in use"):
        await asyncio.to_thread(restore, tmp_path / "backup", tmp_path / "here", replace=True)
    # Nothing has changed, and the server goes on.
    assert await SqliteKeyStore(database).revoke("key_2", AT)
    await database.close()
    assert await keys_of(tmp_path / "here") == ["key_1", "key_2"]
    restore(tmp_path / "backup", tmp_path / "here", replace=True)
    assert await keys_of(tmp_path / "here") == ["key_1"]


async def test_the_pepper_may_be_kept_apart(tmp_path: Path) -> None:
    pepper = await state(tmp_path / "here", 1)
    manifest = create(tmp_path / "here", tmp_path / "backup", with_pepper=False)
    assert set(modes(tmp_path / "backup")) == {DATABASE, "backup.json"}
    assert pepper not in (tmp_path / "backup" / DATABASE).read_bytes()
    with pytest.raises(BackupError, match="pepper"):
        restore(tmp_path / "backup", tmp_path / "there")
    assert not (tmp_path / "there" / DATABASE).exists()
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / PEPPER_FILE).write_bytes(b"x" * 32)
    with pytest.raises(BackupError, match="pepper"):
        restore(tmp_path / "backup", tmp_path / "there")
    (tmp_path / "there" / PEPPER_FILE).write_bytes(pepper)
    assert restore(tmp_path / "backup", tmp_path / "there") == manifest


async def test_a_pepper_that_is_set_is_never_written(tmp_path: Path) -> None:
    await state(tmp_path / "here", 1)
    create(tmp_path / "here", tmp_path / "backup", pepper=PEPPER)
    with pytest.raises(BackupError, match="pepper"):
        restore(tmp_path / "backup", tmp_path / "there", pepper=b"another")
    restore(tmp_path / "backup", tmp_path / "there", pepper=PEPPER)
    assert set(modes(tmp_path / "there")) & {PEPPER_FILE} == set()


def _damaged(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: _damaged(folder / DATABASE), "damaged"),
        (lambda folder: _damaged(folder / PEPPER_FILE), "damaged"),
        (lambda folder: (folder / DATABASE).unlink(), "no whole backup"),
        (lambda folder: (folder / "backup.json").unlink(), "no whole backup"),
        (lambda folder: (folder / "backup.json").write_text("{}"), "no whole backup"),
        (shutil.rmtree, "no whole backup"),
    ],
)
async def test_what_is_no_whole_backup_touches_nothing(
    tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    await state(tmp_path / "here", 1)
    create(tmp_path / "here", tmp_path / "backup")
    await state(tmp_path / "there", 2)
    harm(tmp_path / "backup")
    with pytest.raises(BackupError, match=said) as caught:
        restore(tmp_path / "backup", tmp_path / "there", replace=True)
    assert "\n" not in str(caught.value)
    assert await keys_of(tmp_path / "there") == ["key_2"]


async def test_one_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    await state(tmp_path / "here", 1)
    with sqlite3.connect(tmp_path / "here" / DATABASE) as database:
        database.execute("INSERT INTO schema_version VALUES (99)")
    database.close()
    create(tmp_path / "here", tmp_path / "backup")
    with pytest.raises(BackupError, match="newer Surtitle"):
        restore(tmp_path / "backup", tmp_path / "there")


@pytest.mark.parametrize("missing", [DATABASE, PEPPER_FILE])
async def test_nothing_to_back_up(tmp_path: Path, missing: str) -> None:
    await state(tmp_path / "here", 1)
    (tmp_path / "here" / missing).unlink()
    with pytest.raises(BackupError, match=missing):
        create(tmp_path / "here", tmp_path / "backup")
    assert not (tmp_path / "backup").exists()


async def test_what_another_database_left_is_not_replayed(tmp_path: Path) -> None:
    await state(tmp_path / "here", 1)
    create(tmp_path / "here", tmp_path / "backup")
    await state(tmp_path / "there", 2)
    database = await Database.open(tmp_path / "there" / DATABASE)
    await SqliteKeyStore(database).put(record(3))
    (tmp_path / "there" / DATABASE).unlink()
    with pytest.raises(BackupError, match="-wal was left by another"):
        restore(tmp_path / "backup", tmp_path / "there")
    await database.close()


async def test_a_damaged_database_is_left_to_people(tmp_path: Path) -> None:
    await state(tmp_path / "here", 1)
    create(tmp_path / "here", tmp_path / "backup")
    (tmp_path / "here" / DATABASE).write_text("no database" * 1000)
    with pytest.raises(BackupError, match="damaged"):
        restore(tmp_path / "backup", tmp_path / "here", replace=True)
    (tmp_path / "here" / DATABASE).unlink()
    restore(tmp_path / "backup", tmp_path / "here")
    assert await keys_of(tmp_path / "here") == ["key_1"]


async def test_a_full_disk_leaves_no_half_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await state(tmp_path / "here", 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(BackupError, match="No space left"):
        create(tmp_path / "here", tmp_path / "backups" / "today")
    assert list((tmp_path / "backups").iterdir()) == []
