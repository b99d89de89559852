from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest

from inference import models
from inference.models import ModelStore, ModelStoreError, Packaged, SpeechModel

WEIGHTS = b"first half, " + b"second half"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model ``toy`` in two real, importable packages that refuse to be imported."""
    site = tmp_path / "site"
    for number, content in enumerate((WEIGHTS[:12], WEIGHTS[12:]), start=1):
        data = site / f"toy_part{number}" / "data"
        data.mkdir(parents=True)
        (data.parent / "__init__.py").write_text("raise RuntimeError('imported')")
        (data / f"model.bin.part{number}").write_bytes(content)
    for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
        (site / "toy_part1" / "data" / name).write_text("{}")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    packaged = Packaged(
        packages=("toy-part1", "toy-part2"),
        files=("toy_part1", "data"),
        parts=(("toy_part1", "data/model.bin.part1"), ("toy_part2", "data/model.bin.part2")),
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    )
    monkeypatch.setattr(models, "PACKAGED", {"toy": packaged})
    yield site
    importlib.invalidate_caches()


def whisper_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.json"):
        (folder / name).write_text("{}")
    return folder


@pytest.mark.usefixtures("toy")
def test_parts_are_joined_and_checked(tmp_path: Path) -> None:
    model = ModelStore(tmp_path / "data").speech("toy")
    assert model == SpeechModel(
        "toy", tmp_path / "data" / "models" / "toy", hashlib.sha256(WEIGHTS).hexdigest(), "packages"
    )
    assert (model.path / "model.bin").read_bytes() == WEIGHTS
    assert (model.path / "tokenizer.json").is_file()
    left = {path.name for path in model.path.parent.iterdir()}
    assert left <= {"toy", "toy.lock", "toy.verified.json"}


@pytest.mark.usefixtures("toy")
def test_a_later_start_does_not_hash_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ModelStore(tmp_path)
    first = store.speech("toy")

    def unexpected(*_: object) -> None:
        pytest.fail("hashed again")

    monkeypatch.setattr(hashlib, "file_digest", unexpected)
    assert ModelStore(tmp_path).speech("toy") == first


@pytest.mark.usefixtures("toy")
def test_a_changed_file_is_noticed_at_the_start(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    weights = store.speech("toy").path / "model.bin"
    weights.write_bytes(b"something else entirely")
    with pytest.raises(ModelStoreError) as caught:
        ModelStore(tmp_path).speech("toy")
    message = str(caught.value)
    assert str(weights) in message
    assert hashlib.sha256(WEIGHTS).hexdigest() in message
    assert hashlib.sha256(b"something else entirely").hexdigest() in message
    assert "\n" not in message


@pytest.mark.usefixtures("toy")
def test_verify_finds_what_size_and_time_hide(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    weights = store.speech("toy").path / "model.bin"
    assert store.verify("toy").sha256 is not None
    weights.write_bytes(WEIGHTS[::-1])
    status = weights.stat()
    stamp = tmp_path / "models" / "toy.verified.json"
    seen = json.loads(stamp.read_text()) | {"mtime_ns": status.st_mtime_ns}
    stamp.write_text(json.dumps(seen))
    store.speech("toy")
    with pytest.raises(ModelStoreError, match="damaged"):
        store.verify("toy")
    with pytest.raises(ModelStoreError, match="damaged"):
        store.speech("toy")


def test_a_damaged_package_is_refused_and_nothing_is_left(toy: Path, tmp_path: Path) -> None:
    (toy / "toy_part2" / "data" / "model.bin.part2").write_bytes(b"broken")
    with pytest.raises(ModelStoreError, match="damaged"):
        ModelStore(tmp_path / "data").speech("toy")
    assert {path.name for path in (tmp_path / "data" / "models").iterdir()} <= {"toy.lock"}


@pytest.mark.usefixtures("toy")
def test_an_interrupted_join_is_swept_away(tmp_path: Path) -> None:
    leftover = tmp_path / "models" / ".toy-abandoned"
    leftover.mkdir(parents=True)
    (leftover / "model.bin").write_bytes(b"half")
    ModelStore(tmp_path).speech("toy")
    assert not leftover.exists()


def test_a_missing_package_is_named(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(toy)])
    importlib.invalidate_caches()
    store = ModelStore(tmp_path)
    with pytest.raises(ModelStoreError, match="pip install toy-part1 toy-part2"):
        store.speech("toy")
    assert not store.list()[0].available


@pytest.mark.usefixtures("toy")
def test_the_catalogue_says_what_needs_no_hub(tmp_path: Path) -> None:
    entries = {entry.name: entry for entry in ModelStore(tmp_path).list()}
    assert entries["toy"].available
    assert entries["toy"].origin == "toy-part1 + toy-part2"
    assert entries["large-v3"].origin == "Systran/faster-whisper-large-v3"
    assert not entries["large-v3"].available


def test_a_directory_is_used_as_it_is(tmp_path: Path) -> None:
    folder = whisper_folder(tmp_path / "mine")
    assert ModelStore(tmp_path / "data").speech(str(folder)) == SpeechModel(
        "mine", folder, None, "directory"
    )
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("missing", ["model.bin", "config.json", "tokenizer.json"])
def test_an_incomplete_directory_is_refused(tmp_path: Path, missing: str) -> None:
    folder = whisper_folder(tmp_path / "mine")
    (folder / missing).unlink()
    with pytest.raises(ModelStoreError, match=missing):
        ModelStore(tmp_path).speech(str(folder))


def test_a_directory_that_is_not_there_is_no_hub_id(tmp_path: Path) -> None:
    with pytest.raises(ModelStoreError, match="no model directory"):
        ModelStore(tmp_path).speech(str(tmp_path / "nowhere"))


def test_an_unknown_name_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ModelStoreError, match=r"'gigantic'.*base, tiny\.en.*large-v3"):
        ModelStore(tmp_path).speech("gigantic")


def test_offline_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelStoreError, match="HF_HUB_OFFLINE is set") as caught:
        ModelStore(tmp_path).fetch("small")
    assert "\n" not in str(caught.value)
    assert "Systran/faster-whisper-small" in str(caught.value)


@pytest.mark.timeout(120)
def test_two_processes_make_the_default_model_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from inference.models import ModelStore; "
        "print(ModelStore(Path(sys.argv[1])).speech('base').path)"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    shown = [process.communicate()[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert shown == [str(tmp_path / "models" / "base")] * 2
    verified = ModelStore(tmp_path).verify("base")
    assert (verified.path / "model.bin").stat().st_size == 145_217_532
