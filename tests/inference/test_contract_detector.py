"""What every ``VoiceDetector`` does, the fake and the real one alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import numpy as np
import pytest

from inference.fakes import FakeDetector, Tones
from inference.silero import SileroDetector
from streaming.errors import ModelUnavailable
from streaming.ports import VoiceDetector
from streaming.types import WINDOW, Audio, Windows
from tests.speech import audioeval_clips


@dataclass(frozen=True, slots=True)
class Case:
    detector: VoiceDetector
    speech: Windows


def windows_of(audio: Audio) -> Windows:
    return audio[: len(audio) // WINDOW * WINDOW].reshape(-1, WINDOW)


def silent(windows: int) -> Windows:
    return np.zeros((windows, WINDOW), dtype=np.float32)


@pytest.fixture(params=["fake", "silero", "silero without its gate"])
async def case(request: pytest.FixtureRequest) -> AsyncIterator[Case]:
    if request.param == "fake":
        yield Case(FakeDetector(), windows_of(Tones().speak("alpha bravo charlie")))
        return
    detector = SileroDetector.load(gate=-75.0 if request.param == "silero" else None)
    detector.start()
    yield Case(detector, windows_of(audioeval_clips("en")[0].audio()))
    await detector.close()


async def test_one_probability_a_window(case: Case) -> None:
    found = await case.detector.open().detect(case.speech)
    assert found.shape == (len(case.speech),)
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()
    assert found.max() > 0.8


async def test_silence_is_no_speech(case: Case) -> None:
    assert (await case.detector.open().detect(silent(50))).max() < 0.3


async def test_no_windows_no_probabilities(case: Case) -> None:
    assert len(await case.detector.open().detect(silent(0))) == 0


@pytest.mark.parametrize("size", [1, 4, 31])
async def test_it_does_not_matter_how_windows_are_cut(case: Case, size: int) -> None:
    whole = await case.detector.open().detect(case.speech)
    stream = case.detector.open()
    pieces = [
        await stream.detect(case.speech[start : start + size])
        for start in range(0, len(case.speech), size)
    ]
    np.testing.assert_allclose(np.concatenate(pieces), whole, atol=1e-4)


async def test_streams_share_no_state(case: Case) -> None:
    alone = await case.detector.open().detect(case.speech)
    others = [case.speech[::-1].copy(), silent(40), case.speech]
    together = await asyncio.gather(
        *(case.detector.open().detect(windows) for windows in (*others, case.speech))
    )
    np.testing.assert_allclose(together[-1], alone, atol=1e-4)


async def test_a_closed_stream_says_so(case: Case) -> None:
    stream = case.detector.open()
    await stream.detect(silent(1))
    stream.close()
    stream.close()
    with pytest.raises(ModelUnavailable):
        await stream.detect(silent(1))


async def test_what_is_passed_over_is_as_if_it_had_been_submitted(case: Case) -> None:
    random = np.random.default_rng(1)
    hum = random.normal(0.0, 0.001, (60, WINDOW)).astype(np.float32)
    windows = np.concatenate([silent(20), case.speech, silent(20), hum, case.speech])
    whole = await case.detector.open().detect(windows)
    stream = case.detector.open()
    found = np.zeros(len(windows), dtype=np.float32)
    passed = 0
    for at in range(0, len(windows), 7):
        piece = windows[at : at + 7]
        quiet = stream.pass_over(piece)
        assert 0 <= quiet <= len(piece)
        passed += quiet
        found[at + quiet : at + len(piece)] = await stream.detect(piece[quiet:])
    np.testing.assert_allclose(found >= 0.5, whole >= 0.5)
    np.testing.assert_allclose(found, whole, atol=0.02)
    assert passed >= 20 or case.detector.open().pass_over(silent(5)) == 0


async def test_a_closed_stream_passes_nothing_over(case: Case) -> None:
    stream = case.detector.open()
    stream.close()
    assert stream.pass_over(silent(5)) == 0
