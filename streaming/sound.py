"""The way of a session's sound: kept back in a lull, given to the session, searched for speech."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from streaming.actions import Decode, Detect
from streaming.ears import Ears
from streaming.lag import Lag
from streaming.listeners import Observer
from streaming.lull import Lull
from streaming.ports import ContainerDecoder, VoiceDetector
from streaming.session import StreamSession

MAX_BEHIND: Final = 10.0
"""Seconds of audio that may wait to be listened to before no more is read."""
_AT_EASE: Final = 1.0
"""Seconds of audio that wait where a frame is not waited for: a live speaker's. Who sends faster
gives way to others after each frame."""


class Sound:
    """The sound of one session. Event loop only.

    A live speaker who is listened to ``most_lag`` seconds late gets finals alone until all but a
    fifth of that is heard. ``pressed`` tells whether the server has too much to do, ``progressed``
    is called when the session may have something to do, and ``broke`` with what went wrong while
    nobody waited for it.
    """

    def __init__(
        self,
        session: StreamSession,
        detector: VoiceDetector,
        open_container: Callable[[], ContainerDecoder],
        *,
        most_lag: float,
        clock: Callable[[], float],
        pressed: Callable[[], bool],
        observer: Observer,
        progressed: Callable[[], None],
        broke: Callable[[BaseException], None],
    ) -> None:
        self._session = session
        self._most_lag = most_lag
        self._clock = clock
        self._observer = observer
        self._progressed = progressed
        self._broke = broke
        self._lag = Lag()
        self._lull = Lull(session, pressed, self._hear_late)
        self._ears = Ears(session, detector, open_container, progressed=self._listened, broke=broke)

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        return self._session.behind < MAX_BEHIND

    async def take(self, piece: bytes) -> None:
        """Take a frame of audio, or a piece of one."""
        if not self._lull.keep(piece):
            self._hear(piece)
        if self._session.container or self._session.behind > _AT_EASE:
            await self._ears.rest()

    def ask(self, action: Decode | Detect) -> None:
        """Have an action of the session answered, after those before it."""
        self._ears.take(action)

    def release(self) -> None:
        """Give the session what was kept back; before anything that comes after it."""
        self._lull.release()

    async def rest(self) -> None:
        """Wait until all that was given to the session is searched."""
        await self._ears.rest()

    def drop(self) -> None:
        """Forget what was kept back: the session is over."""
        self._lull.drop()

    async def close(self) -> None:
        """Search nothing more, and free what is held."""
        await self._ears.close()

    # ------------------------------------------------------------ inside

    def _hear(self, sound: bytes) -> None:
        self._session.receive_binary(sound)
        self._observer.heard(self._session.audio_samples, len(sound))
        self._watch_lag()
        self._progressed()

    def _hear_late(self, sound: bytes) -> None:
        try:
            self._hear(sound)
        except Exception as error:  # noqa: BLE001 - the driver tells of it; nobody waits for this
            self._broke(error)

    def _watch_lag(self) -> None:
        session = self._session
        lag = self._lag.note(self._clock(), session.audio_samples, session.behind)
        session.note_lag(lag)
        if lag >= self._most_lag:
            session.fall_behind(lag)
        elif lag <= self._most_lag / 5:
            session.catch_up()

    def _listened(self) -> None:
        if self._session.container:
            self._observer.heard(self._session.audio_samples, 0)
        self._progressed()
