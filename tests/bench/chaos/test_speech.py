from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.chaos.speech import heard_right
from bench.quality.offline import reading
from inference.models import ModelStore
from tests.speech import audioeval_clips


async def test_recordings_are_chosen_by_what_the_model_makes_of_them(tmp_path: Path) -> None:
    fox = next(clip for clip in audioeval_clips("en") if "fox" in clip.id)
    assert fox.text
    misread = replace(fox, text=fox.text.replace("fox", "ox"))
    nothing = replace(fox, text=None)
    model = ModelStore(tmp_path).speech("base")
    async with reading(model, tmp_path / "heard") as read:
        assert await heard_right([misread, fox, nothing], read) == [fox]
