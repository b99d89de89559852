"""The native protocol: docs/protocol.md."""

from __future__ import annotations

import json
from typing import Final

import msgspec

from bench.load.dialects.base import Dialect, Message
from streaming import wire

_events: Final = msgspec.json.Decoder(wire.ServerEvent)


class SurtitleDialect(Dialect):
    """Final is what a ``final`` says."""

    # The stop is not to do what the endpoint should: the last utterance ends like the others.
    tail = (3.0, 3.0)

    def opening(self) -> list[Message]:
        return [json.dumps({"type": "start", "source": "en"})]

    def closing(self) -> list[Message]:
        return ['{"type": "stop"}']

    def receive(self, time: float, message: Message) -> None:
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
