"""Real speech for tests.

A fresh clone takes it from the test dependency ``pytest-audioeval``; where a corpus is at hand
(see :mod:`bench.corpus`) tests also run on that.
"""

from __future__ import annotations

import importlib.util
import os
from functools import cache
from pathlib import Path

from bench.corpus import Clip, default_manifest, read_manifest


@cache
def audioeval_clips(lang: str | None = None) -> tuple[Clip, ...]:
    """The clips of ``pytest-audioeval``, of one language or all."""
    spec = importlib.util.find_spec("pytest_audioeval")
    assert spec is not None
    assert spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations))) / "samples" / "audio"
    clips = tuple(
        Clip(
            id=f"{path.parent.name}/{path.stem}",
            path=path,
            lang=path.parent.name,
            text=path.with_suffix(".txt").read_text(encoding="utf-8").strip(),
        )
        for path in sorted(root.glob("*/*.wav"))
        if lang is None or path.parent.name == lang
    )
    assert clips, f"no speech for {lang!r} in {root}"
    return clips


@cache
def dev_clips() -> tuple[Clip, ...]:
    """All clips of the development corpus; empty in a clone that has none.

    A run that promises to have it (``SURTITLE_REQUIRE_SPEECH=1``) fails without.
    """
    manifest = default_manifest()
    if manifest is None:
        assert os.environ.get("SURTITLE_REQUIRE_SPEECH") != "1", "the speech corpus is missing"
        return ()
    return tuple(read_manifest(manifest))
