"""What has sound decoded and searched for speech: in order, at once where that is possible."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

from inference.fakes import FakeContainerDecoder, FakeDetector, speech_probability
from streaming.actions import Detect
from streaming.ears import Ears
from streaming.errors import ModelUnavailable
from streaming.ports import VoiceDetector
from streaming.session import StreamSession
from streaming.types import WINDOW, Audio, Probabilities, Windows
from tests.streaming.harness import FakeLanguages, s16, speech


class Slow:
    """Answers when it is told to, one at a time."""

    def __init__(self) -> None:
        self.asked: list[tuple[Windows, asyncio.Future[Probabilities]]] = []
        self.closed = False

    def open(self) -> Slow:
        return self

    def pass_over(self, _windows: Windows) -> int:
        return 0

    def submit(self, windows: Windows) -> asyncio.Future[Probabilities]:
        assert all(future.done() for _, future in self.asked), "one call at a time"
        future: asyncio.Future[Probabilities] = asyncio.get_running_loop().create_future()
        self.asked.append((windows, future))
        return future

    async def detect(self, windows: Windows) -> Probabilities:
        return await self.submit(windows)

    def close(self) -> None:
        self.closed = True

    def answer(self) -> None:
        windows, future = self.asked[-1]
        future.set_result(speech_probability(windows))


class Head:
    """A session, its ears, and what became of them."""

    def __init__(self, detector: VoiceDetector) -> None:
        self.session = StreamSession("s", languages=FakeLanguages(), model="fake")
        self.events: list[Any] = []
        self.broken: list[BaseException] = []
        self.ears = Ears(
            self.session,
            detector,
            FakeContainerDecoder,
            progressed=self.perform,
            broke=self.broken.append,
        )
        self.busy = False

    def perform(self) -> None:
        if self.busy:
            return
        self.busy = True
        while actions := self.session.actions():
            for action in actions:
                if isinstance(action, Detect):
                    self.ears.take(action)
                else:
                    self.events.append(action)
        self.busy = False

    def start(self) -> None:
        self.session.receive_text(b'{"type": "start"}')
        self.perform()

    def hear(self, audio: Audio) -> None:
        self.session.receive_binary(s16(audio))
        self.perform()


def quiet(windows: int) -> Audio:
    return np.zeros(windows * WINDOW, dtype=np.float32)


async def test_what_needs_no_model_is_answered_before_the_call_returns() -> None:
    head = Head(FakeDetector())
    head.start()
    head.hear(quiet(20))
    assert head.session.behind == 0
    await asyncio.wait_for(head.ears.rest(), 0.1)
    await head.ears.close()


async def test_answers_that_take_time_come_in_order() -> None:
    detector = Slow()
    head = Head(detector)
    head.start()
    head.hear(quiet(20))
    head.hear(quiet(40))
    assert len(detector.asked) == 1
    resting = asyncio.create_task(head.ears.rest())
    detector.answer()
    await asyncio.sleep(0)
    assert [len(windows) for windows, _ in detector.asked] == [20, 40]
    assert not resting.done()
    assert head.session.behind == pytest.approx(40 * WINDOW / 16000)
    detector.answer()
    await asyncio.wait_for(resting, 0.1)
    assert head.session.behind == 0
    await head.ears.close()
    assert detector.closed


async def test_what_has_come_meanwhile_is_asked_for_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A live speaker's frame would else wait for as many answers as there are frames before it."""
    detector = Slow()
    head = Head(detector)
    head.start()
    told: list[Probabilities] = []
    receive = head.session.receive_probabilities

    def note(found: Probabilities) -> None:
        told.append(found)
        receive(found)

    monkeypatch.setattr(head.session, "receive_probabilities", note)
    sizes = [5, *[5] * 6, 25, 5, 40]
    sound = [speech("alpha bravo charlie")[: size * WINDOW] for size in sizes]
    for piece in sound:
        head.hear(piece)
    for _ in range(4):
        detector.answer()
        await asyncio.sleep(0)
    await asyncio.wait_for(head.ears.rest(), 0.1)
    assert [len(windows) for windows, _ in detector.asked] == [5, 30, 30, 40]
    assert [len(found) for found in told] == sizes
    assert np.concatenate(told).tolist() == [
        probability
        for piece in sound
        for probability in speech_probability(piece.reshape(-1, WINDOW)).tolist()
    ]
    await head.ears.close()


async def test_speech_is_found_in_late_answers() -> None:
    detector = Slow()
    head = Head(detector)
    head.start()
    head.hear(speech("alpha bravo charlie"))
    before = len(head.events)
    detector.answer()
    await head.ears.rest()
    assert len(head.events) > before, "an utterance has begun"
    await head.ears.close()


async def test_an_error_is_told_once_and_nothing_more_is_asked() -> None:
    detector = Slow()
    head = Head(detector)
    head.start()
    head.hear(quiet(20))
    head.hear(quiet(20))
    detector.asked[0][1].set_exception(ModelUnavailable("it broke"))
    await asyncio.wait_for(head.ears.rest(), 0.1)
    assert [str(error) for error in head.broken] == ["it broke"]
    assert len(detector.asked) == 1
    await head.ears.close()


async def test_closing_leaves_nothing_behind() -> None:
    detector = Slow()
    head = Head(detector)
    head.start()
    head.hear(quiet(20))
    await head.ears.close()
    assert detector.asked[0][1].cancelled()
    assert head.broken == []
