"""The native protocol: docs/protocol.md."""

from __future__ import annotations

import json
from typing import Final, Literal

import msgspec

from bench.load.transcript import Transcript
from streaming import wire

_events: Final = msgspec.json.Decoder(wire.ServerEvent)


class SurtitleDialect:
    """Final is what a ``final`` says."""

    encoding: Literal["s16"] = "s16"
    closes = False
    # The stop is not to do what the endpoint should: the last utterance ends like the others.
    tail = (3.0, 3.0)

    def __init__(self) -> None:
        self.transcript = Transcript()
        self.ready = False
        self.refused: str | None = None
        self.over = False

    def opening(self) -> list[str | bytes]:
        return [json.dumps({"type": "start", "source": "en"})]

    def closing(self) -> list[str | bytes]:
        return ['{"type": "stop"}']

    def receive(self, time: float, message: str | bytes) -> None:
        transcript = self.transcript
        match _events.decode(message):
            case wire.ReadyEvent():
                self.ready = True
            case wire.PartialEvent() as event:
                transcript.show(time, event.segment, event.stable, event.unstable)
            case wire.FinalEvent() as event:
                transcript.finish(time, event.segment, event.text, whole=True)
            case wire.WarningEvent() as event:
                transcript.notices[f"warning {event.code}"] += 1
            case wire.ErrorEvent() as event:
                transcript.notices[f"error {event.code}"] += 1
                if not self.ready:
                    self.refused = event.code
            case wire.DoneEvent():
                self.over = True
            case _:
                pass
