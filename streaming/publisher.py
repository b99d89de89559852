"""Events on their way from a session into its history: numbered, and recorded before they are sent.

Who sends waits for that. So no client knows of anything lasting that another process, which goes
on with the session, would not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from streaming import wire
from streaming.errors import SlowReader
from streaming.history import Entry, History
from streaming.listeners import Observer, Recorder
from streaming.outbox import Outbox, passing


class Publisher:
    """Publishes the events of one session. Without a recorder they only get their numbers.

    ``clock`` gives seconds and never runs backwards.
    """

    def __init__(
        self,
        history: History,
        recorder: Recorder | None,
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._history = history
        self._recorder = recorder
        self._observer = observer
        self._clock = clock
        self._outbox = Outbox(sent=history.last)
        self._unrecorded: list[Entry] = []
        self._publishing = asyncio.Lock()

    @property
    def lasting(self) -> bool:
        """Whether something waits that no later event may take the place of."""
        return self._outbox.lasting

    def put(self, event: wire.Event) -> None:
        """Have an event wait. Raises ``SlowReader`` when too many do, and forgets them all."""
        try:
            self._outbox.put(event)
        except SlowReader:
            self._outbox.clear()
            raise

    async def publish(self, *, renew: bool, closing: bool) -> None:
        """Number what waits, record it, and make it part of the history.

        Events that a later one may replace are recorded with the next that lasts, or when the
        connection is ``closing``. ``renew``: record the session even if nothing new lasts. Raises
        what the recorder does.
        """
        async with self._publishing:
            lasting = renew or (closing and bool(self._unrecorded))
            while (event := self._outbox.take()) is not None:
                data = wire.encode(event)
                self._unrecorded.append(self._history.add(data, self._clock()))
                self._observer.sent(event, len(data))
                lasting = lasting or not passing(event)
            if self._recorder is None:
                self._unrecorded.clear()
            elif lasting:
                await self._record(self._recorder)

    async def _record(self, recorder: Recorder) -> None:
        kept = len(self._unrecorded)
        if await recorder.record(self._unrecorded[:kept], self._history.first):
            del self._unrecorded[:kept]
