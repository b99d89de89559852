"""Has a session's sound decoded and searched for speech, in order.

Most sound is quiet, and what is quiet is answered at once: without a task, a future or a turn of
the event loop. That is what makes a thousand sessions cheap in which nobody speaks.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from streaming.actions import Decode, Detect
from streaming.errors import SurtitleError
from streaming.ports import ContainerDecoder, VoiceDetector, VoiceStream
from streaming.session import StreamSession
from streaming.types import Probabilities, Windows

_MOST: Final = 33
"""Windows that are asked for together: a little more than a second."""


class Ears:
    """A session's voice detection, and its container decoder if it has one. Event loop only.

    ``progressed`` is called when the session was given an answer, ``broke`` with what went wrong:
    nothing more is then answered.
    """

    def __init__(
        self,
        session: StreamSession,
        detector: VoiceDetector,
        open_container: Callable[[], ContainerDecoder],
        *,
        progressed: Callable[[], None],
        broke: Callable[[BaseException], None],
    ) -> None:
        self._session = session
        self._detector = detector
        self._open_container = open_container
        self._progressed = progressed
        self._broke = broke
        self._voice: VoiceStream | None = None
        self._container: ContainerDecoder | None = None
        self._waiting: deque[Decode | Detect] = deque()
        self._pending: asyncio.Future[Any] | None = None
        """The answer that is waited for."""
        self._sizes: list[int] = []
        """How many windows each ``Detect`` had that it answers."""
        self._answering = False
        self._rest = asyncio.Event()
        self._rest.set()

    def take(self, action: Decode | Detect) -> None:
        """Have something answered, after what was asked before."""
        self._waiting.append(action)
        if self._pending is None and not self._answering:
            self._go_on()

    async def rest(self) -> None:
        """Wait until all that was asked is answered."""
        await self._rest.wait()

    async def close(self) -> None:
        """Answer nothing more, and free what is held."""
        self._waiting.clear()
        if self._pending is not None:
            self._pending.cancel()
            await asyncio.gather(self._pending, return_exceptions=True)
        if self._voice is not None:
            self._voice.close()
        if self._container is not None:
            self._container.close()

    # ------------------------------------------------------------ inside

    def _go_on(self, found: Probabilities | None = None) -> None:
        """Pass on what was found, and ask on until something has to be waited for."""
        # An answer makes the session ask for more, which comes back here: it only waits its turn.
        self._answering = True
        try:
            if found is not None:
                self._tell(found)
            while self._waiting and self._pending is None:
                self._ask()
        except Exception as error:  # noqa: BLE001 - the driver tells of it
            self._fail(error)
        finally:
            self._answering = False
            if self._pending is None:
                self._rest.set()
            else:
                self._rest.clear()

    def _ask(self) -> None:
        action = self._waiting[0]
        if isinstance(action, Decode):
            self._waiting.popleft()
            self._pending = asyncio.ensure_future(self._decode(action))
            self._pending.add_done_callback(self._decoded)
            return
        if self._voice is None:
            self._voice = self._detector.open()
            self._session.spare(self._voice.pass_over)
        answer = self._voice.submit(self._windows())
        if isinstance(answer, np.ndarray):
            self._tell(answer)
        else:
            self._pending = pending = asyncio.ensure_future(answer)
            pending.add_done_callback(self._detected)

    def _windows(self) -> Windows:
        """Windows to ask for next: about a second of what waits.

        Where an answer takes as long as a frame lasts, because the event loop is late or the model
        busy, frames that are asked for one by one fall behind for ever.
        """
        asked: list[Windows] = []
        self._sizes = []
        while self._waiting and isinstance(action := self._waiting[0], Detect):
            size = len(action.windows)
            if asked and sum(self._sizes) + size > _MOST:
                break
            self._waiting.popleft()
            asked.append(action.windows)
            self._sizes.append(size)
        return asked[0] if len(asked) == 1 else np.concatenate(asked)

    def _tell(self, found: Probabilities) -> None:
        at = 0
        for size in self._sizes:
            self._session.receive_probabilities(found[at : at + size])
            at += size
        self._progressed()

    def _detected(self, answer: asyncio.Future[Probabilities]) -> None:
        if self._came(answer):
            self._go_on(answer.result())

    def _decoded(self, done: asyncio.Future[None]) -> None:
        if self._came(done):
            self._progressed()
            self._go_on()

    def _came(self, answer: asyncio.Future[Any]) -> bool:
        """Whether an answer is one, and not an error, nor given up."""
        if answer.cancelled():
            return False
        self._pending = None
        error = answer.exception()
        if error is not None:
            self._fail(error)
        return error is None

    def _fail(self, error: BaseException) -> None:
        self._waiting.clear()
        self._rest.set()
        self._broke(error)

    async def _decode(self, action: Decode) -> None:
        if self._container is None:
            self._container = self._open_container()
        try:
            if action.last:
                samples = await self._container.flush()
            else:
                samples = await self._container.feed(action.data)
        except SurtitleError as error:
            self._session.receive_decoding_failure(error)
        else:
            self._session.receive_samples(samples, last=action.last)
