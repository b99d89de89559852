"""A copy of the state of one server, taken while it serves, and put back.

A backup is a folder: the database, the pepper without which its keys are void, and a manifest by
which a damaged or mismatched one is known before anything is touched. The pepper may be left out,
to be kept apart; its fingerprint in the manifest then tells whether the one at hand is the right
one. For state that is in Redis, Redis has its own means (docs/deployment.md).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from filelock import FileLock, Timeout

from guards.secrets import PEPPER_FILE, fingerprint, load_pepper
from guards.sqlite import MIGRATIONS

FORMAT: Final = 1
DATABASE: Final = "surtitle.db"
_MANIFEST: Final = "backup.json"
_BUSY_SECONDS: Final = 2.0
_LEFT_BY_SQLITE: Final = ("-wal", "-shm", "-journal")


class BackupError(Exception):
    """It can't be done, or may not: one line that says why. Nothing was changed."""


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What a backup says of itself. Hashes are SHA-256 in hexadecimal, by the name of the file."""

    format: int
    created_at: datetime
    schema: int
    keys: int
    pepper: str
    """Fingerprint of the pepper that the keys were hashed with."""
    sha256: dict[str, str]


def create(
    data_dir: Path, folder: Path, *, pepper: bytes | None = None, with_pepper: bool = True
) -> Manifest:
    """Copy the database of ``data_dir``, and its pepper, into a new folder (mode 0700).

    The server may be running: the copy is of one moment, and nobody waits for it. ``pepper`` is one
    that is set, in which case none is written. Raises :class:`BackupError`.
    """
    if folder.exists() or folder.is_symlink():
        raise BackupError(f"{folder} is there already; nothing is overwritten")
    source_path = data_dir / DATABASE
    if not source_path.is_file():
        raise BackupError(f"there is no {source_path} to back up")
    kept = pepper or _pepper_in(data_dir)
    if kept is None:
        raise BackupError(f"there is no {data_dir / PEPPER_FILE}, and SURTITLE_PEPPER is not set")
    with_pepper = with_pepper and pepper is None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # Under another name until it is whole; mkdtemp makes it for its owner alone.
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            manifest = _write(source_path, draft, kept, with_pepper=with_pepper)
            draft.rename(folder)
            _sync(folder.parent)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"the backup could not be made: {error}") from error
    return manifest


def restore(
    folder: Path, data_dir: Path, *, pepper: bytes | None = None, replace: bool = False
) -> Manifest:
    """Put a backup into ``data_dir``, of which no server may be running.

    ``pepper`` is one that is set, in which case none is written. What is there already is only
    replaced where ``replace``, and kept beside under a name with the time. Raises
    :class:`BackupError`.
    """
    manifest = _checked(folder)
    target = data_dir / DATABASE
    wanted = None if pepper else _pepper_in(folder) or _pepper_in(data_dir)
    if fingerprint(pepper or wanted or b"") != manifest.pepper:
        raise BackupError(
            f"the keys of {folder} were hashed with a pepper that is neither in it nor here: put "
            f"that one at {data_dir / PEPPER_FILE}, or set SURTITLE_PEPPER"
        )
    if target.exists() and not replace:
        raise BackupError(f"{target} is there already, and would be replaced")
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        aside = f".replaced-{datetime.now(UTC):%Y%m%dT%H%M%S}"
        with _held(target) as database:
            if database.execute("PRAGMA schema_version").fetchone() != (0,):
                with _new(target.with_name(target.name + aside)) as before:
                    database.backup(before)
            with contextlib.closing(_open(folder / DATABASE, "ro")) as source:
                source.backup(database)
            if wanted is not None:
                _put_pepper(data_dir, wanted, aside)
    except Timeout as error:
        raise BackupError(f"{target} is being opened by another process") from error
    except (OSError, sqlite3.Error) as error:
        raise BackupError(f"the backup could not be restored: {error}") from error
    return manifest


def _write(source: Path, folder: Path, pepper: bytes, *, with_pepper: bool) -> Manifest:
    with contextlib.closing(_open(source, "rw")) as database, _new(folder / DATABASE) as copy:
        database.backup(copy)  # all pages in one step: one moment, and writers go on (WAL)
        (schema,) = copy.execute("SELECT max(version) FROM schema_version").fetchone()
        (keys,) = copy.execute("SELECT count(*) FROM api_keys").fetchone()
        _check_integrity(copy, source)
    if with_pepper:
        _write_private(folder / PEPPER_FILE, pepper)
    manifest = Manifest(
        format=FORMAT,
        created_at=datetime.now(UTC),
        schema=schema,
        keys=keys,
        pepper=fingerprint(pepper),
        sha256={path.name: _hash(path) for path in sorted(folder.iterdir())},
    )
    encoded = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    _write_private(folder / _MANIFEST, encoded + b"\n")
    _sync(folder)
    return manifest


def _checked(folder: Path) -> Manifest:
    """The manifest of a backup that is as it was written."""
    try:
        manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes(), type=Manifest)
        if manifest.format != FORMAT or manifest.schema > len(MIGRATIONS):
            raise BackupError(f"{folder} was written by a newer Surtitle")
        for name, expected in manifest.sha256.items():
            path = folder / Path(name).name
            # A pepper that was taken out of it, to be kept apart, is no damage.
            if (path.exists() or name != PEPPER_FILE) and _hash(path) != expected:
                raise BackupError(f"{path} is damaged: its hash is not the manifest's")
        with contextlib.closing(_open(folder / DATABASE, "ro")) as database:
            _check_integrity(database, folder / DATABASE)
    except (OSError, sqlite3.Error, msgspec.MsgspecError) as error:
        raise BackupError(f"{folder} is no whole backup: {error}") from error
    return manifest


def _pepper_in(folder: Path) -> bytes | None:
    if not (folder / PEPPER_FILE).exists():
        return None
    try:
        return load_pepper(folder)
    except (OSError, ValueError) as error:
        raise BackupError(str(error)) from error


@contextmanager
def _held(path: Path) -> Iterator[sqlite3.Connection]:
    """The database, made if need be, with every other process kept out."""
    if not path.exists():
        left = [
            name for end in _LEFT_BY_SQLITE if (name := path.with_name(path.name + end)).exists()
        ]
        if left:
            # SQLite would replay it into whatever database it finds beside it.
            raise BackupError(f"{left[0]} was left by another database: move it away first")
    with FileLock(path.with_name(path.name + ".lock"), timeout=_BUSY_SECONDS, mode=0o600):
        path.touch(mode=0o600, exist_ok=True)
        with contextlib.closing(_open(path, "rw")) as database:
            # Whoever has a database with write-ahead logging open holds a lock that this needs.
            try:
                database.execute("PRAGMA locking_mode = EXCLUSIVE")
                database.execute("PRAGMA journal_mode = DELETE")
                database.execute("BEGIN EXCLUSIVE")
                database.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise BackupError(f"{path} is in use: stop the server first") from error
            except sqlite3.DatabaseError as error:
                raise BackupError(f"{path} is damaged: move it away first ({error})") from error
            yield database


@contextmanager
def _new(path: Path) -> Iterator[sqlite3.Connection]:
    """A new database in one file that only its owner reads, on disk when the block ends."""
    path.touch(mode=0o600, exist_ok=False)
    with contextlib.closing(_open(path, "rw")) as database:
        yield database
        # The pages that were copied say otherwise; without it a reader would make more files.
        database.execute("PRAGMA journal_mode = DELETE")
    _sync(path)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)


def _check_integrity(database: sqlite3.Connection, path: Path) -> None:
    (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise BackupError(f"{path} is damaged: {found}")


def _put_pepper(data_dir: Path, pepper: bytes, aside: str) -> None:
    path = data_dir / PEPPER_FILE
    if path.exists():
        if path.read_bytes() == pepper:
            return
        path.rename(path.with_name(path.name + aside))
    draft = path.with_name(f".{path.name}.restored")
    draft.unlink(missing_ok=True)
    _write_private(draft, pepper)
    draft.replace(path)
    _sync(data_dir)


def _write_private(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    """See to it that a file, or the names in a folder, are on disk."""
    if os.name == "nt" and path.is_dir():
        return  # names are written through there, and folders can't be opened
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
