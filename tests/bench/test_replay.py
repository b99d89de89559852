"""The simulation with fakes: its times are exact, and nothing depends on the wall clock."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from bench.corpus import Clip
from bench.metrics import stable_erasure
from bench.quality.offline import Offline
from bench.quality.records import Stages, histories, note
from bench.quality.sets import Item
from bench.replay import Replay, Simulation
from inference.fakes import (
    FakeContainerDecoder,
    FakeDetector,
    FakeRecognizer,
    FakeTranslator,
    Tones,
    silence,
)
from streaming.driver import Models
from streaming.errors import RecognitionFailed
from streaming.session_config import SessionConfig
from streaming.types import Audio
from streaming.wire import DoneEvent, ErrorEvent, FinalEvent, PartialEvent, TranslationEvent
from tests.streaming.harness import FakeLanguages

TONES = Tones()
TAKES = 0.1
"""Seconds each model call takes."""


class Clock:
    """Reads as if every model call took so long: it is read once before and once after each."""

    def __init__(self, takes: float = TAKES) -> None:
        self._readings = self._count(takes)

    def __call__(self) -> float:
        return next(self._readings)

    @staticmethod
    def _count(takes: float) -> Iterator[float]:
        now = 0.0
        while True:
            yield now
            now += takes


def models(recognizer: FakeRecognizer | None = None) -> Models:
    return Models(
        recognizer=recognizer or FakeRecognizer(TONES),
        translator=FakeTranslator(),
        detector=FakeDetector(),
        open_container=FakeContainerDecoder,
    )


def simulation(takes: float = TAKES, recognizer: FakeRecognizer | None = None) -> Simulation:
    return Simulation(
        models(recognizer), FakeLanguages(), config=SessionConfig(), clock=Clock(takes)
    )


def speech(text: str = "Good morning. alpha bravo") -> Audio:
    return np.concatenate([silence(0.5), TONES.speak(text), silence(2.0)])


def finals(replay: Replay) -> list[tuple[float, str]]:
    return [(t.time, t.event.text) for t in replay.events if isinstance(t.event, FinalEvent)]


async def test_what_is_said_comes_out_and_ends_with_done() -> None:
    replay = await simulation().run(speech(), source="en")
    assert " ".join(text for _, text in finals(replay)) == "Good morning. alpha bravo"
    assert isinstance(replay.events[-1].event, DoneEvent)
    assert stable_erasure(histories(replay.events)[""]) == 0


async def test_two_runs_are_the_same_to_the_last_digit() -> None:
    first = await simulation().run(speech(), source="en", targets=["pt"])
    second = await simulation().run(speech(), source="en", targets=["pt"])
    assert first == second


async def test_events_are_in_order_and_partials_wait_for_their_audio_and_their_call() -> None:
    replay = await simulation().run(speech(), source="en")
    times = [timed.time for timed in replay.events]
    assert times == sorted(times)
    partials = [(t.time, t.event) for t in replay.events if isinstance(t.event, PartialEvent)]
    assert partials
    assert all(time >= event.end + TAKES - 1e-9 for time, event in partials)


async def test_calls_take_what_the_clock_says_and_start_when_a_worker_is_free() -> None:
    replay = await simulation().run(speech(), source="en")
    assert replay.calls
    assert all(call.done - call.began == pytest.approx(TAKES) for call in replay.calls)
    assert all(call.began >= call.asked for call in replay.calls)
    assert replay.recognition_seconds == pytest.approx(TAKES * replay.recognitions)


async def test_slower_models_make_later_finals() -> None:
    quick = await simulation(0.05).run(speech(), source="en")
    slow = await simulation(1.5).run(speech(), source="en")
    assert finals(slow)[-1][0] > finals(quick)[-1][0]
    assert slow.recognition_seconds > quick.recognition_seconds
    assert " ".join(text for _, text in finals(slow)) == "Good morning. alpha bravo"


@pytest.mark.parametrize("takes", [0.3, 0.8, 1.0, 2.0])
async def test_one_speaker_is_too_much_for_no_model_slow_as_it_is(takes: float) -> None:
    """Partials that take longer than they are apart must not hold up the end of a sentence."""
    audio = speech("alpha bravo charlie delta echo foxtrot golf hotel " * 8)
    replay = await simulation(takes).run(audio, source="en")
    assert finals(replay)[-1][0] - (len(audio) / 16_000 - 2.0) < 2 * takes + 1.0
    shown = [t.time for t in replay.events if isinstance(t.event, PartialEvent)]
    assert max(after - before for before, after in pairwise(shown)) < takes + 1.0


async def test_no_more_calls_run_at_once_than_there_are_workers() -> None:
    one = Simulation(models(), FakeLanguages(), workers=1, clock=Clock(0.4))
    replay = await one.run(speech("alpha bravo charlie delta echo foxtrot golf"), source="en")
    calls = sorted(replay.calls, key=lambda call: call.began)
    assert all(a.done <= b.began + 1e-9 for a, b in pairwise(calls))


async def test_a_call_that_fails_is_handed_to_the_session() -> None:
    recognizer = FakeRecognizer(TONES)
    recognizer.fail_next(*[RecognitionFailed("no")] * 50)
    replay = await simulation(recognizer=recognizer).run(speech(), source="en")
    assert any(isinstance(timed.event, ErrorEvent) for timed in replay.events)
    assert isinstance(replay.events[-1].event, DoneEvent)


async def test_translations_come_after_their_captions() -> None:
    replay = await simulation().run(speech(), source="en", targets=["pt"])
    done = [t for t in replay.events if isinstance(t.event, TranslationEvent) and t.event.final]
    assert done
    for timed in done:
        assert isinstance(timed.event, TranslationEvent)
        segment = timed.event.segment
        final = next(
            t.time
            for t in replay.events
            if isinstance(t.event, FinalEvent) and t.event.segment == segment
        )
        assert timed.time >= final + TAKES - 1e-9
    assert replay.translations >= len(done)


async def test_the_stages_of_a_final_add_up() -> None:
    audio = speech()
    replay = await simulation().run(audio, source="en")
    end = 0.5 + 4 * 0.256
    offline = Offline("Good morning. alpha bravo", (), ((0.5, end),))
    clip = Clip("made", Path(), "en", "Good morning. alpha bravo", seconds=len(audio) / 16_000)
    record = note("default", Item("english", clip), clip.seconds, replay, offline, {})
    assert record.errors.total == 0
    stages = record.stages[-1]
    parts = (stages.pause, stages.queue, stages.encode, stages.decode, stages.endpoint)
    known = [part for part in parts if part is not None]
    assert len(known) == len(parts)
    assert stages.total == pytest.approx(sum(known))
    assert min(known) >= -1e-9
    assert stages.queue == pytest.approx(0.0)
    assert stages.decode == pytest.approx(TAKES)


async def test_without_calls_only_the_total_of_the_stages_is_known() -> None:
    replay = await simulation().run(speech(), source="en")
    end = 0.5 + 4 * 0.256
    offline = Offline("", (), ((0.5, end),))
    item = Item("english", Clip("made", Path(), "en", ""))
    live = note("live", item, 3.5, Replay(events=replay.events), offline, {}).stages[-1]
    assert live == Stages(total=live.total)
