from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from inference.silero import SileroDetector, packaged_model
from inference.supervision import Supervision
from inference.voice_gate import CONTEXT
from streaming.errors import ModelUnavailable
from streaming.types import SAMPLE_RATE, WINDOW, Audio, Probabilities, Windows
from tests.clock import Clock
from tests.speech import audioeval_clips


def windows_of(audio: Audio) -> Windows:
    return audio[: len(audio) // WINDOW * WINDOW].reshape(-1, WINDOW)


def spoken(index: int = 0) -> Windows:
    return windows_of(audioeval_clips("en")[index].audio())


@pytest.fixture
async def detector() -> AsyncIterator[SileroDetector]:
    detector = SileroDetector.load(gate=None)
    detector.start()
    yield detector
    await detector.close()


def straight(windows: Windows) -> Probabilities:
    """The published way of calling the model: one stream, one window after the other."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(packaged_model()), options)
    state = np.zeros((2, 1, 128), np.float32)
    context = np.zeros((1, CONTEXT), np.float32)
    found = []
    for window in windows:
        row = np.concatenate([context, window[None]], axis=1)
        probability, state = session.run(
            None, {"input": row, "state": state, "sr": np.array(SAMPLE_RATE)}
        )
        context = row[:, -CONTEXT:]
        found.append(probability[0, 0])
    return np.array(found, dtype=np.float32)


async def test_it_is_the_published_model(detector: SileroDetector) -> None:
    windows = spoken()
    found = await detector.open().detect(windows)
    np.testing.assert_allclose(found, straight(windows), atol=1e-4)
    assert found.max() > 0.9


async def test_streams_do_not_touch_each_other_and_cuts_do_not_matter(
    detector: SileroDetector,
) -> None:
    material = [spoken(0), spoken(1), spoken(2), spoken(0)[::-1].copy()]
    alone = [await detector.open().detect(windows) for windows in material]

    async def in_pieces(windows: Windows, size: int) -> Probabilities:
        stream = detector.open()
        pieces = [
            await stream.detect(windows[start : start + size])
            for start in range(0, len(windows), size)
        ]
        return np.concatenate(pieces)

    before = detector.stats
    together = await asyncio.gather(
        *(in_pieces(windows, size) for windows, size in zip(material, (1, 3, 7, 1000), strict=True))
    )
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    ran = detector.stats.windows - before.windows
    assert ran == sum(len(windows) for windows in material)
    assert detector.stats.rounds - before.rounds < ran, "streams shared batches"


async def test_the_gate_saves_silence_and_changes_no_speech() -> None:
    silence = np.zeros((50, WINDOW), dtype=np.float32)
    windows = np.concatenate([silence, spoken(), silence])
    gated = SileroDetector.load(gate=-75.0)
    gated.start()
    open_ = SileroDetector.load(gate=None)
    open_.start()
    try:
        with_gate = await gated.open().detect(windows)
        without = await open_.open().detect(windows)
        assert gated.stats.gated > 60
        assert gated.stats.gated + gated.stats.windows == len(windows)
        assert ((with_gate > 0.5) == (without > 0.5)).mean() > 0.98
    finally:
        await gated.close()
        await open_.close()


@pytest.mark.parametrize("decibels", [-65, -50, -40])
async def test_a_steady_background_is_mostly_not_listened_to(decibels: int) -> None:
    """In a noisy room, too, and speech over the noise is found where it would be without."""
    random = np.random.default_rng(1)
    speech = spoken()
    noise = random.normal(0.0, 10 ** (decibels / 20), (400 + len(speech), WINDOW))
    noise[300 : 300 + len(speech)] += speech
    windows = noise.astype(np.float32)
    gated, open_ = SileroDetector.load(), SileroDetector.load(gate=None)
    gated.start()
    open_.start()
    try:
        with_gate = await gated.open().detect(windows)
        without = await open_.open().detect(windows)
    finally:
        await gated.close()
        await open_.close()
    heard = np.flatnonzero(without > 0.5)
    assert len(heard) > 10
    assert np.flatnonzero(with_gate > 0.5)[0] <= heard[0] + 7, "within what is kept before an onset"
    assert np.flatnonzero(with_gate > 0.5)[-1] == pytest.approx(heard[-1], abs=2)
    assert gated.stats.gated > 0.75 * (len(windows) - len(speech))


async def onset(windows: Windows, gate: float | None) -> int:
    """The first window that is found to be speech."""
    detector = SileroDetector.load(gate=gate)
    detector.start()
    try:
        return int(np.argmax(await detector.open().detect(windows) >= 0.5))
    finally:
        await detector.close()


@pytest.mark.parametrize("decibels", [0, -20, -30])
@pytest.mark.parametrize("lang", ["en", "es", "fr", "pt"])
async def test_after_silence_speech_is_found_as_soon_as_without_the_gate(
    lang: str, decibels: int
) -> None:
    """However quiet: a model that has heard nothing yet takes half a second of it for noise."""
    silence = np.zeros((60, WINDOW), dtype=np.float32)
    speech = windows_of(audioeval_clips(lang)[2].audio()) * np.float32(10 ** (decibels / 20))
    windows = np.concatenate([silence, speech])
    assert await onset(windows, -75.0) <= await onset(windows, None) + 1


async def test_speech_on_an_offset_is_found_as_without_one() -> None:
    """A steady offset, as of cheap sound cards, is as loud as speech, and no sound."""
    random = np.random.default_rng(3)
    noise = random.normal(0.0, 0.001, (100, WINDOW)).astype(np.float32)
    windows = np.concatenate([noise, spoken() * np.float32(0.3)])
    found = await onset(windows, -75.0)
    assert found >= len(noise)
    assert await onset(windows + np.float32(0.14), -75.0) <= found + 1


async def test_streams_in_quiet_rooms_share_their_rounds() -> None:
    """They are listened to now and then, and together: nobody waits for what is hardly speech."""
    random = np.random.default_rng(2)
    noise = random.normal(0.0, 0.001, (24, WINDOW)).astype(np.float32)
    detector = SileroDetector.load()
    detector.start()
    streams = [detector.open() for _ in range(40)]
    for stream in streams:
        await stream.detect(noise)
    before = detector.stats
    for at in range(0, len(noise), 6):
        await asyncio.gather(*(stream.detect(noise[at : at + 6]) for stream in streams))
    after = detector.stats
    ran, rounds = after.windows - before.windows, after.rounds - before.rounds
    assert 40 <= ran <= 40 * 3, "one window in sixteen, and a few that were louder"
    assert rounds * 8 <= ran
    await detector.close()


async def test_a_speaker_is_not_held_up_by_many_quiet_rooms() -> None:
    """Their windows have a small part of each round, however many wait."""
    model = Wrapped()
    detector = SileroDetector(model, gate=-75.0)
    detector.start()
    noise = np.random.default_rng(2).normal(0.0, 0.003, (40, WINDOW)).astype(np.float32)
    rooms = [detector.open() for _ in range(150)]
    await asyncio.gather(*(room.detect(noise) for room in rooms))
    speech = spoken()
    at = int(np.flatnonzero(straight(speech) > 0.9)[5])
    speaker = detector.open()
    await speaker.detect(speech[:at])
    model.hold()
    first = asyncio.create_task(speaker.detect(speech[at : at + 1]))
    assert await asyncio.to_thread(model.entered.wait, 30)
    quiet = [asyncio.create_task(room.detect(noise[:30])) for room in rooms]
    said = asyncio.create_task(speaker.detect(speech[at + 1 : at + 4]))
    await asyncio.sleep(0.05)
    model.sizes.clear()
    model.release.set()
    await asyncio.gather(first, said, *quiet)
    assert sum(model.sizes) >= len(rooms)
    assert max(model.sizes) == 33
    assert [size for size in model.sizes if size > 32] == model.sizes[:3], "the speaker's rounds"
    await detector.close()


async def test_a_quiet_stream_is_answered_at_once_where_no_model_is_needed() -> None:
    detector = SileroDetector.load()
    answer = detector.open().submit(np.zeros((6, WINDOW), dtype=np.float32))
    assert isinstance(answer, np.ndarray)
    assert answer.tolist() == [0.0] * 6
    waiting = detector.open().submit(spoken())
    assert isinstance(waiting, asyncio.Future)
    await detector.close()
    with pytest.raises(ModelUnavailable):
        await waiting


async def test_a_stream_keeps_none_of_what_it_passed_over() -> None:
    detector = SileroDetector.load()
    stream = detector.open()
    silence = np.zeros((1000, WINDOW), dtype=np.float32)
    seen = weakref.ref(silence)
    assert stream.pass_over(silence) == 1000
    del silence
    assert seen() is None
    await detector.close()


async def test_silence_at_the_start_never_reaches_the_thread() -> None:
    detector = SileroDetector.load()
    found = await detector.open().detect(np.zeros((30, WINDOW), dtype=np.float32))
    assert found.tolist() == [0.0] * 30
    assert detector.stats.rounds == 0
    await detector.close()


async def test_the_gate_does_not_cut_into_speech() -> None:
    detector = SileroDetector.load()
    detector.start()
    stream = detector.open()
    speech = spoken()
    probable = await stream.detect(speech)
    end = int(np.flatnonzero(probable > 0.5)[-1]) + 1
    stream = detector.open()
    await stream.detect(speech[:end])
    before = detector.stats.windows
    await stream.detect(np.zeros((1, WINDOW), dtype=np.float32))
    assert detector.stats.windows == before + 1, "right after speech the model is asked"
    await detector.close()


async def test_nothing_is_nothing(detector: SileroDetector) -> None:
    assert len(await detector.open().detect(np.zeros((0, WINDOW), dtype=np.float32))) == 0


async def test_a_closed_stream_and_a_closed_detector_say_so() -> None:
    detector = SileroDetector.load(gate=None)
    stream = detector.open()
    waiting = asyncio.create_task(stream.detect(spoken()))
    await asyncio.sleep(0)
    await detector.close()
    with pytest.raises(ModelUnavailable):
        await waiting
    with pytest.raises(ModelUnavailable):
        await stream.detect(spoken())
    stream.close()
    stream.close()
    with pytest.raises(ModelUnavailable):
        await stream.detect(spoken())
    await detector.close()
    assert not any(thread.name == "silero" for thread in threading.enumerate())


async def test_a_cancelled_call_is_dropped(detector: SileroDetector) -> None:
    stream = detector.open()
    long = np.concatenate([spoken()] * 20)
    task = asyncio.create_task(stream.detect(long))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await detector.open().detect(spoken())) == len(spoken())


async def test_a_failing_model_fails_the_call_and_not_the_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Broken:
        def __init__(self) -> None:
            self.calls = 0

        def run(self, _outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            self.calls += 1
            if self.calls == 1:
                raise RuntimeError("out of luck")
            rows = len(inputs["input"])
            return [np.full((rows, 1), 0.5, np.float32), np.zeros((2, rows, 128), np.float32)]

    detector = SileroDetector(Broken(), gate=None)
    detector.start()
    with pytest.raises(ModelUnavailable) as caught:
        await detector.open().detect(spoken()[:2])
    assert "luck" not in caught.value.message
    assert "out of luck" in caplog.text
    assert (await detector.open().detect(spoken()[:2])).tolist() == [0.5, 0.5]
    await detector.close()


class Wrapped:
    """A real session, until told otherwise."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(str(packaged_model()), options)
        self.hang_in = -1
        self.entered = threading.Event()
        self.release = threading.Event()
        self.poison: np.ndarray | None = None
        self.sizes: list[int] = []
        """Of each round."""

    def hold(self) -> None:
        """Hang in the next round."""
        self.hang_in = 1

    def run(self, outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        self.sizes.append(len(inputs["input"]))
        self.hang_in -= 1
        if self.hang_in == 0:
            self.entered.set()
            assert self.release.wait(60)
        if self.poison is not None and (inputs["input"][:, CONTEXT:] == self.poison).all(1).any():
            raise RuntimeError("can't bear it")
        found: list[np.ndarray] = self.session.run(outputs, inputs)
        return found


async def test_a_round_that_hangs_is_done_again_and_changes_no_stream() -> None:
    first, clock = Wrapped(), Clock()
    first.hang_in = 20
    detector = SileroDetector(
        first, gate=None, renew=Wrapped, supervision=Supervision(longest=5), clock=clock
    )
    detector.start()
    one, other = spoken(0), spoken(1)
    asked = [asyncio.create_task(detector.open().detect(windows)) for windows in (one, other)]
    assert await asyncio.to_thread(first.entered.wait, 30)
    for _ in range(12):
        clock.now += 0.5
        detector._crew.look()
    found = await asyncio.gather(*asked)
    np.testing.assert_allclose(found[0], straight(one), atol=1e-4)
    np.testing.assert_allclose(found[1], straight(other), atol=1e-4)
    staff = detector.stats.staff
    assert (staff.hung, staff.restarts, staff.abandoned) == (1, 1, 1)
    assert staff.retried >= 1
    assert detector.stats.answered_at is not None
    first.release.set()
    await detector.close()


async def test_who_waits_is_told_when_the_last_thread_hangs_while_it_loads() -> None:
    first, clock = Wrapped(), Clock()
    first.hang_in = 1
    loads, loaded = threading.Event(), threading.Event()

    def renew() -> Wrapped:
        loads.set()
        assert loaded.wait(60)
        return Wrapped()

    policy = Supervision(longest=5, loading=10, most_abandoned=1)
    detector = SileroDetector(first, gate=None, renew=renew, supervision=policy, clock=clock)
    detector.start()
    asked = asyncio.create_task(detector.open().detect(spoken()[:2]))
    assert await asyncio.to_thread(first.entered.wait, 30)
    for _ in range(12):
        clock.now += 0.5
        detector._crew.look()
    assert await asyncio.to_thread(loads.wait, 30)
    for _ in range(22):
        clock.now += 0.5
        detector._crew.look()
    async with asyncio.timeout(20):
        with pytest.raises(ModelUnavailable):
            await asked
    first.release.set()
    loaded.set()
    await detector.close()


async def test_a_session_that_dies_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    class Dying:
        def run(self, *_arguments: object) -> None:
            raise SystemExit(1)

    detector = SileroDetector(Dying(), gate=None, renew=Wrapped)
    detector.start()
    windows = spoken()
    np.testing.assert_allclose(await detector.open().detect(windows), straight(windows), atol=1e-4)
    assert detector.stats.staff.restarts == 1
    assert "a worker died" in caplog.text
    await detector.close()


async def test_what_fails_one_stream_fails_no_other(caplog: pytest.LogCaptureFixture) -> None:
    session = Wrapped()
    one, other = spoken(0), spoken(1)
    session.poison = one[3]
    detector = SileroDetector(session, gate=None)
    asked = [asyncio.create_task(detector.open().detect(windows)) for windows in (one, other)]
    await asyncio.sleep(0)
    detector.start()
    failed, found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(failed, ModelUnavailable)
    np.testing.assert_allclose(np.asarray(found), straight(other), atol=1e-4)
    assert "can't bear it" in caplog.text
    await detector.close()


def test_torch_is_not_imported() -> None:
    code = (
        "import sys; from inference.silero import SileroDetector; SileroDetector.load(); "
        "print('torch' in sys.modules, 'silero_vad' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.split() == ["False", "False"]


def test_nothing_is_reported_to_the_runtime_s_maker(tmp_path: Path) -> None:
    script = "from inference.silero import SileroDetector; SileroDetector.load()"
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ORT_")}
    environment |= {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "CI": ""}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=60)
    assert list(tmp_path.iterdir()) == []  # where its reports and the machine's id would be kept
