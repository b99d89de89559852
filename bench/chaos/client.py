"""A speaker that does not give up: it keeps what it said, and connects again until all is final.

It knows of the server what ``docs/protocol.md`` says, no more. Its audio is a recording that is
played as if spoken now; while it is not connected it goes on speaking, and sends what has not
arrived when it is back.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from bench.chaos.record import Failure, Heard, Interruption, Record
from streaming.types import SAMPLE_RATE

BYTES_PER_SECOND: Final = SAMPLE_RATE * 2
"""Of 16 kHz s16le."""
FRAME: Final = 1280
"""Bytes of a frame: 40 ms."""

_BACKOFF: Final = (0.1, 2.0)
"""Seconds that the first attempt to connect again waits at most, and any later one."""
_ANSWER_SECONDS: Final = 10.0
"""For a handshake, and for ``ready``."""
_UNRESUMABLE: Final = ("resume_unknown", "resume_impossible")


class Gone(Exception):
    """The connection ended before the session had."""


class Speaker:
    """One stream. ``run`` returns once everything is final, or raises ``TimeoutError``.

    ``addresses`` are tried in turn. ``pace`` is seconds of audio a second, None for as fast as the
    server reads. ``heartbeat``: seconds between pings, and for their answer; a connection without
    an answer is given up.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        key: str,
        audio: bytes,
        *,
        pace: float | None = 1.0,
        heartbeat: tuple[float, float] = (2.0, 8.0),
        resumes: bool = True,
        **start: Any,
    ) -> None:
        self._addresses = addresses
        self._key = key
        self._audio = audio
        self._pace = pace
        self._heartbeat = heartbeat
        self._resumes = resumes
        self._start: Mapping[str, Any] = {"type": "start", "source": "en", **start}
        self._attempts = 0
        self._token: str | None = None
        self._received = 0
        self._offset = 0.0
        """Seconds of audio before the present session: not 0 once one had to be begun anew."""
        self._socket: ClientConnection | None = None
        self.record = Record()
        self.connected = asyncio.Event()
        """Set while a session is running."""
        self.reading = asyncio.Event()
        """Cleared by who wants it to read nothing for a while."""
        self.reading.set()

    async def run(self, within: float) -> Record:
        """Speak, and wait for all finals. Raises ``TimeoutError`` after ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                await self._insist()
        except TimeoutError:
            raise TimeoutError(f"not all was final after {within:.0f} s: {self.record}") from None
        return self.record

    async def _insist(self) -> None:
        failures = 0
        while not self.record.done:
            before = self._received
            try:
                await self._connect()
            except (Gone, OSError, TimeoutError, InvalidHandshake, ConnectionClosed) as error:
                self._note(error)
            failures = 0 if self._received > before else failures + 1
            if not self.record.done:
                # Full jitter: those that were cut off together don't come back together.
                most = min(_BACKOFF[1], _BACKOFF[0] * 2 ** min(failures, 8))
                await asyncio.sleep(random.uniform(0, most))  # noqa: S311 - no secret

    def drop(self) -> None:
        """Lose the connection, without a word to the server."""
        if self._socket is not None:
            self._socket.transport.abort()

    # ------------------------------------------------------------ one connection

    async def _connect(self) -> None:
        address = self._addresses[self._attempts % len(self._addresses)]
        self._attempts += 1
        if self._token is not None:
            address += "?resume=1"
        interval, answer = self._heartbeat
        async with connect(
            address,
            additional_headers={"Authorization": f"Bearer {self._key}"},
            open_timeout=_ANSWER_SECONDS,
            close_timeout=1,
            ping_interval=interval,
            ping_timeout=answer,
            max_size=None,
            compression=None,
        ) as socket:
            self._socket = socket
            position = await self._greet(socket)
            self.connected.set()
            sender = asyncio.create_task(self._send(socket, position))
            try:
                await self._receive(socket)
            finally:
                self.connected.clear()
                self._socket = None
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)

    async def _greet(self, socket: ClientConnection) -> int:
        """Begin, or go on; where in the audio to send from, in bytes."""
        start = dict(self._start)
        if self._token is not None:
            start["resume"] = {"token": self._token, "received_seq": self._received}
        elif self.record.began is not None:
            self._begin_anew()
        await socket.send(json.dumps(start))
        async with asyncio.timeout(_ANSWER_SECONDS):
            while (event := json.loads(await socket.recv()))["type"] != "ready":
                if event["type"] != "error":
                    self.record.broken_promises.append(f"{event['type']} before ready")
                    continue
                self._fail(event["code"])
                if event["code"] in _UNRESUMABLE:
                    self._begin_anew()
                    self._received = event["seq"]
                    await socket.send(json.dumps(self._start))
        return self._ready(event)

    def _ready(self, event: dict[str, Any]) -> int:
        now = time.monotonic()
        if self.record.began is None:
            self.record.began = now
        for interruption in self.record.interruptions:
            if interruption.back is None:
                interruption.back = now
        if self._resumes:
            self._token = event["resume_token"]
        if not event.get("resumed"):
            self._take(event)
            return self._bytes(self._offset)
        if event["seq"] != self._received:
            self.record.broken_promises.append(f"ready {event['seq']} after {self._received}")
        return self._bytes(self._offset) + int(event["audio_received_bytes"])

    def _begin_anew(self) -> None:
        """There is no session to go on with: another, for what is not final yet."""
        self.record.anew += 1
        self._token, self._received = None, 0
        self._offset = self._finalised

    @property
    def _finalised(self) -> float:
        """Up to where everything said is final: what comes after is kept."""
        return max((final.end for final in self.record.finals), default=0.0)

    def _bytes(self, seconds: float) -> int:
        return round(seconds * SAMPLE_RATE) * 2

    async def _send(self, socket: ClientConnection, position: int) -> None:
        assert self.record.began is not None  # noqa: S101 - set by `ready`
        while position < len(self._audio):
            end = min(position + FRAME, len(self._audio))
            if self._pace is not None:
                due = self.record.began + end / BYTES_PER_SECOND / self._pace
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            await socket.send(self._audio[position:end])
            position = end
        await socket.send('{"type": "stop"}')

    async def _receive(self, socket: ClientConnection) -> None:
        while True:
            await self.reading.wait()
            try:
                self._take(json.loads(await socket.recv()))
            except ConnectionClosed as error:
                if self.record.done:
                    return
                raise Gone(_reason(error)) from error

    # ------------------------------------------------------------ what is told

    def _take(self, event: dict[str, Any]) -> None:
        record = self.record
        if event["seq"] != self._received + 1:
            record.broken_promises.append(f"seq {event['seq']} after {self._received}")
        self._received = event["seq"]
        match event:
            case {"type": "final"}:
                self._hear(event)
            case {"type": "translation", "final": True, "target": target}:
                record.translations[target] += 1
            case {"type": "warning", "code": code}:
                record.warnings[code] += 1
            case {"type": "error", "code": code}:
                self._fail(code)
            case {"type": "done"}:
                record.done = True

    def _hear(self, event: dict[str, Any]) -> None:
        assert self.record.began is not None  # noqa: S101 - set by `ready`
        final = Heard(
            start=self._offset + event["start"],
            end=self._offset + event["end"],
            text=event["text"],
            at=time.monotonic() - self.record.began,
        )
        self.record.finals.append(final)

    def _fail(self, code: str) -> None:
        self.record.failures.append(Failure(code, time.monotonic()))

    def _note(self, error: Exception) -> None:
        """One more reason to connect again."""
        if isinstance(error, InvalidStatus):
            self.record.refused[str(error.response.status_code)] += 1
            return
        interruptions = self.record.interruptions
        if interruptions and interruptions[-1].back is None:
            self.record.refused[type(error).__name__] += 1
            return
        why = str(error) if isinstance(error, Gone) else type(error).__name__
        interruptions.append(Interruption(why, time.monotonic()))


def _reason(error: ConnectionClosed) -> str:
    """How a connection ended, as its reader saw it."""
    if error.rcvd is None:
        return "no close" if error.sent is None else "no answer to pings"
    return f"{error.rcvd.code} {error.rcvd.reason}".strip()
