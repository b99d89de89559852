"""Real models are asked whether they answer, and do."""

from __future__ import annotations

from inference.bergamot import BergamotEngine
from inference.murmur import murmur
from inference.silero import SileroDetector
from inference.translator import TextTranslator
from streaming.types import SAMPLE_RATE
from tests.inference.whispers import load_base


def test_a_murmur_is_sound() -> None:
    sound = murmur(0.5)
    assert sound.shape == (SAMPLE_RATE // 2,)
    assert 0.1 < abs(sound).max() <= 0.2


async def test_speech() -> None:
    recognizer = load_base(1)
    recognizer.start()
    for number in range(2):
        await recognizer.probe(number)
    assert recognizer.answered_at is not None
    stats = recognizer.stats
    assert (stats.rows, stats.failed) == (2, 0)
    await recognizer.close()


async def test_voice_activity_listens_to_it() -> None:
    detector = SileroDetector.load()
    detector.start()
    await detector.probe(1)
    assert detector.stats.windows > 0
    assert detector.answered_at is not None
    await detector.close()


async def test_translation_does_not_answer_from_memory() -> None:
    translator = TextTranslator([BergamotEngine()])
    translator.start()
    for number in range(2):
        await translator.probe("bergamot", number)
    assert translator.stats.engines["bergamot"].rows == 2
    assert translator.answered_at("bergamot") is not None
    await translator.close()
