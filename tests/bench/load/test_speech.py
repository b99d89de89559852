from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.corpus import Clip
from bench.load.speech import GAP, encoded, fitting, quiet, spaced
from bench.replay import FRAME
from streaming.types import SAMPLE_RATE


def clip(name: str, *tags: str, seconds: float = 5.0, lang: str = "en") -> Clip:
    return Clip(name, Path(f"{name}.flac"), lang, "hello", frozenset(tags), seconds)


def test_a_pool_is_drawn_from_plain_english_utterances() -> None:
    clips = [
        clip("fine", "read"),
        clip("short", seconds=1.0),
        clip("long", seconds=20.0),
        clip("german", lang="de"),
        clip("again", "dup-audio"),
        clip("numbers", "digits"),
    ]
    assert [one.id for one in fitting(clips)] == ["fine"]


def test_an_utterance_is_followed_by_a_pause_and_is_whole_frames() -> None:
    audio = np.full(SAMPLE_RATE + 7, 0.25, dtype=np.float32)
    longer = spaced(audio)
    assert len(longer) % FRAME == 0
    assert np.array_equal(longer[: len(audio)], audio)
    pause = (len(longer) - len(audio)) / SAMPLE_RATE
    assert GAP <= pause < GAP + FRAME / SAMPLE_RATE


def test_both_encodings_have_the_same_frames() -> None:
    made = encoded(spaced(np.linspace(-1, 1, SAMPLE_RATE, dtype=np.float32)))
    assert len(made["s16"]) == len(made["f32"])
    assert {len(frame) for frame in made["s16"]} == {2 * FRAME}
    assert {len(frame) for frame in made["f32"]} == {4 * FRAME}
    ints = np.frombuffer(b"".join(made["s16"]), "<i2") / 32767
    floats = np.frombuffer(b"".join(made["f32"]), "<f4")
    assert np.allclose(ints, floats, atol=1e-4)


def test_a_quiet_room_is_quiet_and_not_silent() -> None:
    level = 20 * np.log10(np.sqrt(np.mean(quiet(1.0) ** 2)))
    assert -66 < level < -64
