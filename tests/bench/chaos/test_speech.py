from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bench.chaos.speech import heard_right
from bench.quality.offline import OfflineReader
from inference.models import ModelStore
from inference.silero import SileroDetector
from tests.speech import audioeval_clips


async def test_recordings_are_chosen_by_what_the_model_makes_of_them(tmp_path: Path) -> None:
    fox = next(clip for clip in audioeval_clips("en") if "fox" in clip.id)
    assert fox.text
    misread = replace(fox, text=fox.text.replace("fox", "ox"))
    nothing = replace(fox, text=None)
    model = ModelStore(tmp_path).speech("base")
    reader = OfflineReader(model.path, model.name, "int8", tmp_path / "heard")
    detector = SileroDetector.load()
    detector.start()
    try:
        assert await heard_right([misread, fox, nothing], reader, detector) == [fox]
    finally:
        await detector.close()
