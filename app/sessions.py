"""The streams that are running in this process. Event loop only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from typing import Final

import structlog

from guards.errors import Draining, StoreUnavailable
from guards.keyring import Keyring
from guards.principal import Principal
from streaming.errors import SurtitleError

log = structlog.get_logger(__name__)

WATCH_SECONDS: Final = 1.0
"""How often the keys of running sessions are looked at again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a stream has come. ``behind_seconds`` of its audio wait to be listened to."""

    audio_seconds: float = 0.0
    behind_seconds: float = 0.0
    finals: int = 0
    characters: int = 0


@dataclass(slots=True, eq=False)
class LiveSession:
    """One running stream.

    ``end`` is called on the loop, at most once, and must not block: it makes the session send
    what it owes, then the error, and close. ``leave`` is called when the server goes away, with
    the seconds that are left; by default the session is ended. ``progress`` and ``connected`` are
    for the administration to read; ``address`` is that of its connection, now or last.
    """

    id: str
    principal: Principal
    end: Callable[[SurtitleError], None]
    leave: Callable[[float], None] | None = None
    progress: Callable[[], Progress] = Progress
    connected: Callable[[], bool] = lambda: True
    address: str = ""
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    ending: bool = False


class SessionRegistry:
    """Who is connected, so that they can be counted, ended and waited for."""

    def __init__(self) -> None:
        self._sessions: dict[str, LiveSession] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    def __len__(self) -> int:
        return len(self._sessions)

    def __iter__(self) -> Iterator[LiveSession]:
        """A snapshot: sessions may come and go meanwhile."""
        return iter(tuple(self._sessions.values()))

    @contextmanager
    def running(self, session: LiveSession) -> Iterator[LiveSession]:
        """Count a session for as long as the block lasts. Raises as :meth:`add` does."""
        self.add(session)
        try:
            yield session
        finally:
            self.discard(session)

    def add(self, session: LiveSession) -> None:
        """Count a session.

        Raises ``Draining`` when no more are taken, and ``ValueError`` for an id in use.
        """
        if self._draining:
            raise Draining("The server is shutting down; connect again.")
        if session.id in self._sessions:
            raise ValueError(f"session {session.id} is running already")
        self._sessions[session.id] = session
        self._idle.clear()

    def discard(self, session: LiveSession) -> None:
        """Count a session no more. Idempotent."""
        if self._sessions.get(session.id) is session:
            del self._sessions[session.id]
        if not self._sessions:
            self._idle.set()

    def begun_within(self, seconds: float) -> int:
        """How many sessions are younger than that."""
        since = datetime.now(UTC) - timedelta(seconds=seconds)
        return sum(1 for _ in takewhile(lambda one: one.started_at > since, self._newest()))

    def _newest(self) -> Iterator[LiveSession]:
        return iter(reversed(self._sessions.values()))

    def end(self, session_id: str, error: SurtitleError) -> bool:
        """End one session; False when there is none of this id."""
        session = self._sessions.get(session_id)
        if session is None:
            return False
        if not session.ending:
            session.ending = True
            session.end(error)
        return True

    async def drain(self, timeout: float) -> bool:  # noqa: ASYNC109 - a drain that runs out is an outcome
        """Take no more sessions, let the running ones go, and wait for them, ``timeout`` seconds.

        They have half of it to come to a place where nobody speaks, and the rest for what they
        then owe. Returns whether all have ended.
        """
        self._draining = True
        for session in self:
            if session.leave is not None:
                session.leave(timeout / 2)
            else:
                self.end(session.id, Draining("The server is shutting down; connect again."))
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True


async def end_invalid(sessions: SessionRegistry, keyring: Keyring) -> None:
    """End the sessions whose key was revoked or has expired since they began."""
    invalid = await keyring.invalid(
        # Users of an external issuer have no key that could end.
        {session.principal.key_id for session in sessions if not session.principal.issuer}
    )
    for session in sessions:
        error = invalid.get(session.principal.key_id)
        if error is not None and not session.ending:
            log.info("session ended", session=session.id, code=error.code)
            sessions.end(session.id, error)


async def watch_keys(sessions: SessionRegistry, keyring: Keyring) -> None:
    """:func:`end_invalid`, for ever. While the store is away running sessions go on."""
    away = False
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        try:
            await end_invalid(sessions, keyring)
        except StoreUnavailable:
            if not away:
                log.warning("key store away; running sessions go on unchecked", exc_info=True)
            away = True
        else:
            away = False
