from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.secrets import PREFIX, digest, hint, load_pepper, mint, mistyped


def test_a_key_has_the_prefix_256_bits_and_fits_a_header() -> None:
    key = mint()
    assert key.startswith(PREFIX)
    assert len(key) == len(PREFIX) + 43 + 6  # 62**43 > 2**256
    assert key.isascii()
    assert key.replace("_", "").isalnum()
    assert mint() != key


@given(position=st.integers(0, 48), letter=st.sampled_from("0aZ"))
def test_one_wrong_character_is_noticed(position: int, letter: str) -> None:
    key = mint()
    at = len(PREFIX) + position
    wrong = key[:at] + letter + key[at + 1 :]
    assert mistyped(wrong) == (wrong != key)


@pytest.mark.parametrize("text", [PREFIX, PREFIX + "x", PREFIX + "é" * 49, mint()[:-1]])
def test_what_is_cut_short_or_foreign_is_mistyped(text: str) -> None:
    assert mistyped(text)


def test_a_chosen_key_is_never_mistyped_and_shows_no_hint() -> None:
    assert not mistyped("correct-horse")
    assert hint("correct-horse") == "…"
    key = mint()
    assert hint(key) == f"…{key[-4:]}"


def test_the_digest_depends_on_the_pepper() -> None:
    assert digest("key", b"a" * 32) != digest("key", b"b" * 32)
    assert len(digest("key", b"a" * 32)) == 32


def test_the_pepper_is_made_once_and_private(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    pepper = load_pepper(directory)
    assert load_pepper(directory) == pepper
    assert stat.S_IMODE((directory / "pepper").stat().st_mode) == 0o600
    assert [path.name for path in directory.iterdir()] == ["pepper"]


def test_processes_that_ask_at_once_get_the_same_pepper(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load_pepper, [tmp_path] * 32))) == 1


def test_a_damaged_pepper_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pepper").write_bytes(b"short")
    with pytest.raises(ValueError, match="32 bytes"):
        load_pepper(tmp_path)
