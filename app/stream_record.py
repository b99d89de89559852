"""What the resume log keeps of a stream, and what becomes of that in another process."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from guards.resume import Kept
from guards.stream_meter import Standing
from streaming.checkpoint import Checkpoint
from streaming.errors import ResumeUnknown
from streaming.history import MAX_KEPT, History


class Record(Struct):
    """All that another process needs. ``closed`` is how a session that has ended was closed."""

    checkpoint: Checkpoint
    standing: Standing
    lease: str
    started_at: float
    closed: tuple[int, str] | None = None


encode: Final = msgspec.msgpack.Encoder().encode
decode: Final = msgspec.msgpack.Decoder(Record).decode


def history(kept: Kept, received: int) -> History:
    """The events of a session whose client has those up to ``received``.

    Raises ``ResumeUnknown`` when there can't have been so many.
    """
    if received <= kept.last:
        return History(last=kept.last, kept=kept.events)
    if received > kept.last + MAX_KEPT:
        raise ResumeUnknown(f"event {received} was never sent; begin a new session")
    # What may change again is not kept: the client knows better what it was sent.
    return History(last=received)
