"""One connection of a session: its frames go in, its events go out.

A session may outlive a connection and have another. So this keeps nothing of the session but how
far its events were sent over this connection.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from streaming import wire
from streaming.errors import IdleTimeout, SlowReader, StartTimeout, SurtitleError, TakenOver

if TYPE_CHECKING:
    from streaming.driver import StreamDriver

log = logging.getLogger(__name__)

_PIECE: Final = 16 * 1024
"""Bytes that are taken in one turn of the event loop: half a second of 16-bit audio at 16 kHz. Then
it is the others' turn. Whose sound waits, because the loop is late, catches up by as much a turn,
however small its frames are."""
_LEAST: Final = 1024
"""What a frame counts for at least: reading it takes time, too."""


class Transport(Protocol):
    """A connection to one client."""

    async def receive(self) -> str | bytes | None:
        """The next frame: text, or bytes of audio. None when the client has gone."""
        ...

    async def send(self, data: bytes) -> None:
        """Send a text frame (UTF-8). Raises ``ConnectionError`` when the client has gone."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Close the connection. Raises ``ConnectionError`` when the client has gone."""
        ...


class Connection:
    """A driver's connection. ``received`` is the last event that its client has."""

    def __init__(self, driver: StreamDriver, transport: Transport, received: int) -> None:
        self.request: wire.Resume | None = None
        """Why it is over, if the client wants to go on with another session."""
        self.news = asyncio.Event()
        """Set when there may be something to send."""
        self.progress = asyncio.Event()
        """Set when there may be room for more audio."""
        self._driver = driver
        self._transport = transport
        self._sent = received
        self._released = asyncio.Event()
        self._reason: SurtitleError | None = None
        self._over = asyncio.Event()
        self._waiting_since: float | None = None
        """When it began to wait for a frame, by the loop's clock; None while it has one."""

    async def run(self, greeting: wire.Event | None = None) -> None:
        """Run until the connection is over, after a greeting. Leaves no task behind."""
        driver = self._driver
        loop = asyncio.get_running_loop()
        self._watchman = loop.call_soon(self._watch, loop)
        tasks = [
            asyncio.create_task(driver.guarded(self._read)),
            asyncio.create_task(self._write(greeting)),
            asyncio.create_task(self._released.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._watchman.cancel()
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    log.error("session %s: sending broke", driver.session.id, exc_info=result)
            self._over.set()
        if self._reason is not None:
            await self._hang_up(self._reason)

    def release(self, reason: SurtitleError) -> None:
        """End this connection, which is not the session's any more; returns at once."""
        self._reason = self._reason or reason
        self._released.set()

    async def over(self) -> None:
        """Wait until nothing more is read or sent."""
        await self._over.wait()

    async def _read(self) -> None:
        session = self._driver.session
        loop = asyncio.get_running_loop()
        taken = 0
        while not session.ended:
            while not self._driver.has_room:
                self.progress.clear()
                await self.progress.wait()
            if taken >= _PIECE:
                taken = 0
                await asyncio.sleep(0)
            self._waiting_since = loop.time()
            frame = await self._transport.receive()
            self._waiting_since = None
            if frame is None:
                return
            taken += max(len(frame), _LEAST)
            if isinstance(frame, str):
                self.request = await self._driver.take_text(frame)
                if self.request is not None:
                    return
                # It may have started, and has then more time to wait, or less.
                self._watchman.cancel()
                self._watch(loop)
                continue
            pieces = self._pieces(frame)
            for piece in pieces:
                await self._driver.take_audio(piece)
                if len(pieces) > 1:
                    await asyncio.sleep(0)
                if session.ending:
                    break
        # Only the writer ends a session that has ended by itself.
        await asyncio.Event().wait()

    def _pieces(self, frame: bytes) -> list[bytes]:
        """A frame as it is taken and metered. Captions don't depend on where it is cut."""
        size = len(frame)
        if not _PIECE < size <= self._driver.session.config.max_message_bytes:
            return [frame]
        return [frame[at : at + _PIECE] for at in range(0, size, _PIECE)]

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the session of a client that sends nothing.

        One timer looks now and then: a timeout for each frame costs more than the frame.
        """
        timeouts, session = self._driver.timeouts, self._driver.session
        if session.ending:
            return
        patience = timeouts.idle if session.started else timeouts.start
        waited = 0.0 if self._waiting_since is None else loop.time() - self._waiting_since
        if waited >= patience:
            self._driver.end(self._impatience())
        else:
            self._watchman = loop.call_later(patience - waited, self._watch, loop)

    def _impatience(self) -> SurtitleError:
        timeouts = self._driver.timeouts
        if self._driver.session.started:
            return IdleTimeout(f"nothing came for {timeouts.idle:g} s, not even a keepalive")
        return StartTimeout(f"no `start` came within {timeouts.start:g} s")

    async def _write(self, greeting: wire.Event | None) -> None:
        driver = self._driver
        try:
            if greeting is not None:
                await self._send(wire.encode(greeting))
            while True:
                self.news.clear()
                close = await driver.publish()
                for seq, data in driver.history.after(self._sent):
                    await self._send(data)
                    self._sent = seq
                driver.sent(self._sent)
                if close is not None:
                    await self._transport.close(close.code, close.reason)
                    return
                await self.news.wait()
        except ConnectionError:
            return
        except TakenOver as error:
            driver.give_up_to_other(error)
        except TimeoutError:
            log.warning("session %s: the client does not read", driver.session.id)
            self.release(SlowReader("the client does not read"))

    async def _send(self, data: bytes) -> None:
        async with asyncio.timeout(self._driver.timeouts.send):
            await self._transport.send(data)

    async def _hang_up(self, error: SurtitleError) -> None:
        if not self._driver.timeouts.resume:
            self._driver.observer.closed(error.close_code, error.code)
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(1):
                await self._transport.close(error.close_code, error.code)
