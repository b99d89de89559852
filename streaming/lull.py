"""Sound of sessions in which nobody has spoken for a while, kept back while the server is pressed.

A second of a quiet room costs the event loop about half as much at once as in four frames. So when
it has more to do than it can, those who say nothing are listened to by the second, and there is
time for those who speak. Nothing is lost by it but up to a second before someone who has been
silent for long is found to speak. Delays are then measured from when their sound was listened to.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Final

from streaming.session import StreamSession

_KEPT_SECONDS: Final = 1.0
_KEPT_BYTES: Final = 128 * 1024
"""Of a sender faster than speech, no more is kept."""
_PHASES: Final = 1 << 32
"""One more than the largest CRC-32."""
_LONG: Final = 5.0
"""Seconds without speech after which a session is listened to by the second."""


def until_turn(session: str, now: float) -> float:
    """Seconds until it is a session's turn to be listened to, more than 0 and at most one.

    Turns are spread by the session's id: the server is pressed for all at once, and would hold a
    second of everyone's sound at the same time.
    """
    phase = zlib.crc32(session.encode()) / _PHASES
    return _KEPT_SECONDS * (1 - (now / _KEPT_SECONDS - phase) % 1)


class Lull:
    """Keeps back the sound of one session. Event loop only.

    ``pressed`` tells whether the server has too much to do; ``listen`` is given what was kept.
    """

    def __init__(
        self, session: StreamSession, pressed: Callable[[], bool], listen: Callable[[bytes], None]
    ) -> None:
        self._session = session
        self._pressed = pressed
        self._listen = listen
        self._kept: list[bytes] = []
        self._size = 0
        self._most = min(_KEPT_BYTES, session.config.max_message_bytes)
        self._timer: asyncio.TimerHandle | None = None

    def keep(self, piece: bytes) -> bool:
        """Keep a piece of sound back, if it may wait; whether it does."""
        if self._size + len(piece) > self._most:
            self.release()
        if not self._kept and not (self._pressed() and self._lasts):
            return False
        self._kept.append(piece)
        self._size += len(piece)
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(until_turn(self._session.id, loop.time()), self.release)
        return True

    def release(self) -> None:
        """Have what was kept listened to, now. To be called before anything that comes after it."""
        if not self._kept:
            return
        kept = b"".join(self._kept)
        self.drop()
        self._listen(kept)

    def drop(self) -> None:
        """Forget what was kept: the session is over."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._kept.clear()
        self._size = 0

    @property
    def _lasts(self) -> bool:
        session = self._session
        return not session.container and not session.ending and session.silence >= _LONG
