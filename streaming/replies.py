"""What a client is told of its session itself: how it begins, what is wrong, and how it ends."""

from __future__ import annotations

from typing import Final

from streaming import wire
from streaming.actions import Action, Close, Emit
from streaming.errors import SurtitleError
from streaming.session_config import SessionConfig

RESTARTS: Final = 1012
"""The close code of a server that goes away while another one may go on."""


class Replies:
    """Makes the events that are not captions. ``token`` and ``model`` are told at the beginning."""

    def __init__(
        self,
        session: str,
        config: SessionConfig,
        actions: list[Action],
        *,
        token: str | None,
        model: str,
    ) -> None:
        self.errors = 0
        """Errors told that were not fatal to the session."""
        self._session = session
        self._config = config
        self._actions = actions
        self._token = token
        self._model = model

    def ready(self) -> wire.ReadyEvent:
        """The answer to ``start``; to be sent by who asks for it."""
        limits = wire.Limits(
            max_message_bytes=self._config.max_message_bytes,
            max_segment_seconds=self._config.segmenter.max_ms / 1000,
            idle_timeout_seconds=self._config.idle_timeout_seconds,
            resume_seconds=self._config.resume_seconds,
        )
        return wire.ReadyEvent(
            session=self._session, resume_token=self._token, limits=limits, model=self._model
        )

    def emit(self, event: wire.Event) -> None:
        self._actions.append(Emit(event))

    def no_rooms(self) -> None:
        """A room was asked for."""
        self.emit(
            wire.WarningEvent(
                code="room_unavailable",
                message="this server has no rooms; the session runs for this connection alone",
            )
        )

    def lagging(self, lag: float) -> None:
        """Audio is listened to so many seconds late."""
        self._tell_lag("lagging", "the server is late: finals only, until it is not", lag)

    def recovered(self) -> None:
        """It is not late any more."""
        self._tell_lag("recovered", "the server is up to date again", 0.0)

    def complain(self, error: SurtitleError) -> None:
        """Something can't be done; the session goes on."""
        self.emit(wire.ErrorEvent.of(error))
        self.errors += 1

    def fail(self, error: SurtitleError) -> None:
        """The session ends with an error. Nothing comes after that."""
        self.emit(wire.ErrorEvent.of(error, fatal=True))
        self._actions.append(Close(error.close_code, error.code))

    def done(self, audio_seconds: float, finals: int, characters: int) -> None:
        """Everything was said; only the close comes after that."""
        usage = wire.Usage(audio_seconds=audio_seconds, characters=characters)
        self.emit(wire.DoneEvent(audio_seconds=audio_seconds, segments=finals, usage=usage))

    def close(self, code: int) -> None:
        """The session ends. Nothing comes after that."""
        self._actions.append(Close(code, "draining" if code == RESTARTS else ""))

    def _tell_lag(self, code: str, message: str, lag: float) -> None:
        details = {"lag_seconds": round(lag, 1)}
        self.emit(wire.WarningEvent(code=code, message=message, details=details))
