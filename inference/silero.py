"""The ``VoiceDetector`` port on Silero VAD 6 (https://github.com/snakers4/silero-vad), in ONNX.

One thread serves all streams: in each round it takes the next window of every stream that has one
and runs them as one batch. The recurrent state and the 64 samples of context before a window belong
to the stream, so who else is in a batch makes no difference. They change only when a round is over:
one that hangs is given up, and done again by another thread with a session of its own.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from inference.crew import Crew, Worker
from inference.delivery import deliver
from inference.murmur import murmur
from inference.supervision import Fault, Staff, Supervision
from inference.voice_gate import CONTEXT, UNUSED, Memory, Request, State, levels_of
from streaming.errors import ModelUnavailable, SurtitleError
from streaming.ports import VoiceStream
from streaming.types import SAMPLE_RATE, WINDOW, Probabilities, Windows

logger = logging.getLogger(__name__)

_BATCH: Final = 256
_FILE: Final = "silero_vad_op18_ifless.onnx"
_PROBE: Final = murmur(2 * WINDOW / SAMPLE_RATE).reshape(2, WINDOW)
_QUIET: Final = 32
"""Windows in a batch that are hardly speech. More cost as much each, and hold up those of speakers,
of whom each needs 31 batches a second."""
_GATHER: Final = 0.01
"""Seconds that windows wait which are hardly speech, for those of other streams: ten together take
half as long as one after the other."""
_FOLLOWED: Final = 32
"""Windows of silence, a second, whose effect on the model's state is known: more is taken for as
much. It would change the state further, but speech is found no sooner for it."""
_LAST_ROUNDS: Final = 2.0
"""Seconds that ``close`` waits for what runs."""


def packaged_model() -> Path:
    """The model in the package ``silero-vad``, found without importing it (that needs torch).

    Raises ``FileNotFoundError`` when the package is not installed.
    """
    spec = importlib.util.find_spec("silero_vad")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "data" / _FILE
        if path.is_file():
            return path
    raise FileNotFoundError(f"{_FILE} of the package silero-vad is not installed")


@dataclass(frozen=True, slots=True)
class DetectorStats:
    """Counters since the start."""

    rounds: int
    """Model runs."""
    windows: int
    """Windows answered by the model."""
    gated: int
    """Windows answered without it: silence, or no louder than what was no speech before."""
    staff: Staff
    """The thread, and what became of those before it."""
    answered_at: float | None
    """When the model answered last, in monotonic seconds."""


_Answer = tuple[float, State]
"""A window's probability, and the stream's state after it."""


def _after_silence(session: Any) -> list[State]:
    """The model's state after 1, 2, 3 … windows of silence."""
    silence = np.zeros((1, CONTEXT + WINDOW), dtype=np.float32)
    rate = np.array(SAMPLE_RATE, dtype=np.int64)
    states = []
    state = UNUSED[:, np.newaxis]
    for _ in range(_FOLLOWED):
        _, state = session.run(None, {"input": silence, "state": state, "sr": rate})
        states.append(state[:, 0].copy())
    return states


class SileroDetector:
    """Voice-activity detection for any number of streams. Made by :meth:`load`."""

    def __init__(
        self,
        session: Any,
        *,
        gate: float | None,
        after_silence: Sequence[State] = (),
        renew: Callable[[], Any] | None = None,
        supervision: Supervision | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate = 0.0 if gate is None else 10 ** (gate / 20)
        self._after_silence = after_silence
        self._clock = clock
        self._answered_at: float | None = None
        self._retried = 0
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._crew = Crew[Any, list[Request]](
            name="silero",
            backends=[session],
            lock=lock,
            serve=self._work,
            lost=self._worker_lost,
            renew=(lambda _session, _fault: renew()) if renew else None,
            policy=supervision,
            clock=clock,
        )
        self._waiting: deque[Request] = deque()
        self._unhurried: deque[Request] = deque()
        self._gathering = False
        self._closed = False
        self._started = False
        self._rounds = self._ran = self._gated = 0
        self._spared = 0
        """Windows answered on the event loop: counted there, without the lock."""

    @classmethod
    def load(
        cls,
        path: Path | None = None,
        *,
        gate: float | None = -75.0,
        supervision: Supervision | None = None,
    ) -> SileroDetector:
        """Load the model, by default the packaged one. Blocking, a fraction of a second.

        ``gate`` is a level in dBFS (RMS of a window): while a stream's last probability is low,
        quieter windows are answered 0 without running the model; so are seven of eight windows that
        are hardly louder than its background. None switches that off.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # the file has unused initialisers, which is no news
        model = str(path or packaged_model())

        def session() -> Any:
            return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

        first = session()
        return cls(
            first,
            gate=gate,
            after_silence=_after_silence(first),
            renew=session,
            supervision=supervision,
        )

    def open(self) -> VoiceStream:
        """A new stream, with nothing heard."""
        return _SileroStream(self, Memory(self._after_silence, self._gate))

    @property
    def stats(self) -> DetectorStats:
        with self._changed:
            return DetectorStats(
                self._rounds,
                self._ran,
                self._gated + self._spared,
                self.staff,
                self._answered_at,
            )

    @property
    def staff(self) -> Staff:
        """The thread, and what became of those before it. Cheap."""
        with self._changed:
            return self._crew.staff(retried=self._retried)

    @property
    def answered_at(self) -> float | None:
        """When the model answered last, in monotonic seconds."""
        return self._answered_at

    async def probe(self, _number: int) -> None:
        """Have the model listen to a window: raises what it raises."""
        stream = self.open()
        await stream.detect(_PROBE)
        stream.close()

    def start(self) -> None:
        """Start the thread. Idempotent."""
        with self._changed:
            if self._started or self._closed:
                return
            self._started = True
        self._crew.start()

    async def close(self) -> None:
        """Fail what waits with ``ModelUnavailable`` and end the thread. Idempotent."""
        with self._changed:
            self._closed = True
            stranded = [request.future for request in (*self._waiting, *self._unhurried)]
            self._waiting.clear()
            self._unhurried.clear()
            started = self._started
            self._crew.close()
            self._changed.notify_all()
        stopped = ModelUnavailable("Voice detection has stopped.")
        deliver([(future, stopped) for future in stranded])
        if started:
            await asyncio.to_thread(self._crew.join, _LAST_ROUNDS)

    def pass_over(self, memory: Memory, windows: Windows) -> int:
        """How many of a stream's next windows are answered 0 without the model."""
        if self._down():
            return 0
        done = memory.pass_over(windows, levels_of(windows))
        self._spared += done
        return done

    def submit(
        self, memory: Memory, windows: Windows, loop: asyncio.AbstractEventLoop
    ) -> Probabilities | asyncio.Future[Probabilities]:
        """The probabilities of a stream's next windows. Streams call this."""
        if self._down():
            raise ModelUnavailable("Voice detection has stopped.")
        windows = np.ascontiguousarray(windows, dtype=np.float32).reshape(-1, WINDOW)
        request = Request(
            memory=memory,
            windows=windows,
            levels=levels_of(windows),
            future=loop.create_future(),
            probabilities=np.zeros(len(windows), dtype=np.float32),
        )
        # Idle streams are most streams: they cost no trip to the thread.
        idle = request.skip_quiet()
        self._spared += request.done
        if idle:
            return request.probabilities
        with self._changed:
            if self._down():
                raise ModelUnavailable("Voice detection has stopped.")
            self._queue(request)
        return request.future

    def _down(self) -> bool:
        return self._closed or self._crew.hopeless

    def _queue(self, request: Request) -> None:
        """Have the next window of a request listened to. The lock is held."""
        if request.urgent:
            self._waiting.append(request)
            self._changed.notify()
        else:
            self._unhurried.append(request)
            if not self._gathering:
                self._changed.notify()

    def _work(self, worker: Worker[Any, list[Request]]) -> None:
        while batch := self._next_round(worker):
            answers = self._answers(worker, batch)
            with self._changed:
                if not self._crew.end(worker):
                    return  # another thread has these requests now
            done: list[Request] = []
            left: list[Request] = []
            failed: list[Request] = []
            gated = 0
            for request, answer in zip(batch, answers, strict=True):
                if answer is None:
                    failed.append(request)
                    continue
                probability, request.memory.state = answer
                request.take(probability)
                before = request.done
                (done if request.skip_quiet() else left).append(request)
                gated += request.done - before
            with self._changed:
                self._rounds += 1
                self._ran += len(batch) - len(failed)
                self._gated += gated
                if done or left:
                    self._answered_at = self._clock()
                closed = self._closed
                if not closed:
                    # Behind those that wait: a long request is as many turns as it has windows.
                    for request in left:
                        self._queue(request)
            self._finish(done, None)
            self._finish(failed, ModelUnavailable("Voice detection failed."))
            if closed:
                self._finish(left, ModelUnavailable("Voice detection has stopped."))

    def _next_round(self, worker: Worker[Any, list[Request]]) -> list[Request]:
        """The requests whose next windows make a batch. Empty means: closed."""
        with self._changed:
            while not self._closed:
                if not self._waiting and self._unhurried:
                    self._gathering = True
                    self._changed.wait(_GATHER)
                    self._gathering = False
                batch: list[Request] = []
                for queue, most in ((self._waiting, _BATCH), (self._unhurried, _QUIET)):
                    full = min(_BATCH, len(batch) + most)
                    while queue and len(batch) < full:
                        request = queue.popleft()
                        if not request.future.cancelled():
                            batch.append(request)
                if batch:
                    self._crew.begin(worker, batch)
                    return batch
                self._changed.wait()
        return []

    def _answers(
        self, worker: Worker[Any, list[Request]], batch: Sequence[Request]
    ) -> list[_Answer | None]:
        """What the model says of each request's next window; None where it fails.

        Where it fails for several, each is asked alone.
        """
        try:
            return [*self._run(worker.backend, batch)]
        except Exception:
            if len(batch) == 1:
                logger.exception("voice detection failed")
                return [None]
        answers: list[_Answer | None] = []
        for request in batch:
            with self._changed:
                self._crew.progress(worker)
            answers += self._answers(worker, [request])
        return answers

    @staticmethod
    def _run(session: Any, batch: Sequence[Request]) -> list[_Answer]:
        rows = np.empty((len(batch), CONTEXT + WINDOW), dtype=np.float32)
        for row, request in zip(rows, batch, strict=True):
            row[:CONTEXT] = request.memory.context
            row[CONTEXT:] = request.windows[request.done]
        state = np.stack([request.memory.state for request in batch], axis=1)
        probabilities, states = session.run(
            None, {"input": rows, "state": state, "sr": np.array(SAMPLE_RATE, dtype=np.int64)}
        )
        return [
            (float(probabilities[index, 0]), states[:, index].copy()) for index in range(len(batch))
        ]

    def _worker_lost(self, batch: list[Request] | None, _fault: Fault) -> None:
        """Ask another thread, once, in the old order; without one, fail all that waits. The lock is
        held.
        """
        batch = batch or []
        failed = [one for one in batch if one.retried or self._closed or self._crew.hopeless]
        again = [one for one in batch if one not in failed]
        for request in again:
            request.retried = True
        self._retried += len(again)
        self._waiting.extendleft(reversed(again))
        if self._crew.hopeless:
            failed += (*self._waiting, *self._unhurried)
            self._waiting.clear()
            self._unhurried.clear()
        self._changed.notify_all()
        self._finish(failed, ModelUnavailable("Voice detection failed."))

    def _finish(self, requests: list[Request], error: SurtitleError | None) -> None:
        deliver([(request.future, error or request.probabilities) for request in requests])


class _SileroStream:
    """One stream's memory."""

    def __init__(self, detector: SileroDetector, memory: Memory) -> None:
        self._detector = detector
        self._memory: Memory | None = memory
        self._loop = asyncio.get_running_loop()

    def submit(self, windows: Windows) -> Probabilities | asyncio.Future[Probabilities]:
        """See the port. Raises ``ModelUnavailable`` after ``close`` or when the model fails."""
        if self._memory is None:
            raise ModelUnavailable("This voice stream is closed.")
        return self._detector.submit(self._memory, windows, self._loop)

    def pass_over(self, windows: Windows) -> int:
        """See the port."""
        return 0 if self._memory is None else self._detector.pass_over(self._memory, windows)

    async def detect(self, windows: Windows) -> Probabilities:
        """See the port."""
        answer = self.submit(windows)
        return await answer if isinstance(answer, asyncio.Future) else answer

    def close(self) -> None:
        """See the port."""
        self._memory = None
