"""What is compared with what; the soak itself is run in ``tests/chaos``."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import cast

from bench.chaos.servers import Process
from bench.chaos.soak import Soak, server_killed
from bench.chaos.stage import Stage
from bench.chaos.tally import Told
from tests.bench.chaos.test_tally import ONE, SPEECH, TWO, record

OTHER = "and when it snows all is as white as a dove"


def soak(*calm: Told) -> Soak:
    stage = Stage([], [SPEECH, SPEECH], undisturbed=[[record(ONE, TWO), record(TWO, ONE)]])
    return Soak(stage, minutes=20, streams=3, seed=1, calm=10, undisturbed=list(calm))


def test_sessions_without_a_fault_are_references_of_their_speech() -> None:
    one = soak(Told(0, record(ONE, OTHER)))
    first, second = one._references()
    assert [[final.text for final in finals] for finals in first] == [[ONE, TWO], [ONE, OTHER]]
    assert [[final.text for final in finals] for finals in second] == [[TWO, ONE]]


def test_a_session_without_a_fault_is_compared_with_the_others() -> None:
    heard_once = soak(Told(0, record(ONE, OTHER)), Told(0, record(ONE, TWO)))
    assert heard_once._calm() == {
        "minutes": 10,
        "utterances": 4,
        "wrong": [f"speech 0 at 4.0 s: {TWO!r} became {OTHER!r}"],
    }
    heard_twice = soak(Told(0, record(ONE, OTHER)), Told(0, record(ONE, OTHER)))
    assert heard_twice._calm()["wrong"] == []


class Reluctant:
    """A server that does not start the first time."""

    name = "reluctant"

    def __init__(self) -> None:
        self.signals: list[int] = []
        self.starts = 0

    def signal(self, number: signal.Signals) -> None:
        self.signals.append(number)

    async def ended(self) -> int:
        return -9

    async def start(self) -> None:
        self.starts += 1
        if self.starts == 1:
            raise RuntimeError("reluctant died")


async def test_a_server_that_does_not_start_is_told_and_started_again() -> None:
    server = Reluctant()
    run = Soak(Stage([cast("Process", server)], [SPEECH]), minutes=1, streams=1, seed=1)
    await server_killed(run, random.Random(1))  # noqa: S311 - no secret
    await asyncio.gather(*run._mending)
    assert (server.signals, server.starts) == ([signal.SIGKILL], 2)
    assert run.unmended == 1
    assert not run.down.locked()
