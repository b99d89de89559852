"""The ``VoiceDetector`` port on Silero VAD 6 (https://github.com/snakers4/silero-vad), in ONNX.

One thread serves all streams: in each round it takes the next window of every stream that has one
and runs them as one batch. The recurrent state and the 64 samples of context before a window belong
to the stream, so who else is in a batch makes no difference.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from inference.delivery import deliver
from streaming.errors import ModelUnavailable, SurtitleError
from streaming.ports import VoiceStream
from streaming.types import SAMPLE_RATE, WINDOW, Probabilities, Windows

logger = logging.getLogger(__name__)

CONTEXT: Final = 64
"""Samples before a window that the model is given with it."""

_STATE: Final = 128
_UNLIKELY: Final = 0.1
"""The energy gate is for streams whose last probability was below this."""
_ABOVE_FLOOR: Final = 1.6
"""How much louder than its background (in amplitude: 4 dB) a window is that the gate lets pass."""
_UNHEARD: Final = 7
"""Windows in a row that the gate may hold back: one in eight is listened to in any case, so that
speech hardly louder than its background is found a quarter of a second later, within the audio
that is kept from before an onset."""
_FALL, _RISE = 0.5, 0.05
"""How fast the idea of the background follows quieter windows, and louder ones."""
_BATCH: Final = 256
_FILE: Final = "silero_vad_op18_ifless.onnx"


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


@dataclass(slots=True, eq=False)
class _Memory:
    """What a stream carries from window to window. Only one thread at a time touches it."""

    state: NDArray[np.float32] = field(default_factory=lambda: np.zeros((2, _STATE), np.float32))
    context: NDArray[np.float32] = field(default_factory=lambda: np.zeros(CONTEXT, np.float32))
    last: float = 0.0
    floor: float = 0.0
    """RMS of its background; 0 until one was heard."""
    unheard: int = 0
    """Windows since the model listened last."""

    def learn(self, level: float) -> None:
        """Take the level of a window in which nobody speaks."""
        rate = _RISE if level > self.floor > 0 else _FALL
        self.floor = level if self.floor == 0 else self.floor + rate * (level - self.floor)


@dataclass(slots=True, eq=False)
class _Request:
    """Windows of one stream that wait or are worked on, the first ``done`` of them answered."""

    memory: _Memory
    windows: Windows
    levels: list[float]
    gate: float
    future: asyncio.Future[Probabilities]
    probabilities: Probabilities
    done: int = 0
    dropped: bool = False

    def skip_quiet(self) -> bool:
        """Answer windows the gate lets be answered without the model. True if none are left."""
        memory = self.memory
        while self.done < len(self.windows):
            level = self.levels[self.done]
            if memory.last >= _UNLIKELY:
                return False
            if level >= self.gate and not self._is_background(level):
                return False
            memory.unheard += 1
            self._answer(0.0)
        return True

    def take(self, probability: float) -> None:
        """Answer the next window with what the model found."""
        self.memory.unheard = 0
        self._answer(probability)

    def _is_background(self, level: float) -> bool:
        memory = self.memory
        return self.gate > 0 and level < _ABOVE_FLOOR * memory.floor and memory.unheard < _UNHEARD

    def _answer(self, probability: float) -> None:
        self.probabilities[self.done] = probability
        self.memory.last = probability
        self.memory.context = self.windows[self.done, -CONTEXT:]
        if probability < _UNLIKELY:
            self.memory.learn(self.levels[self.done])
        self.done += 1


@dataclass(frozen=True, slots=True)
class DetectorStats:
    """Counters since the start."""

    rounds: int
    """Model runs."""
    windows: int
    """Windows answered by the model."""
    gated: int
    """Windows answered without it: silence, or no louder than what was no speech before."""


class SileroDetector:
    """Voice-activity detection for any number of streams. Made by :meth:`load`."""

    def __init__(self, session: Any, *, gate: float | None) -> None:
        self._session = session
        self._threshold = -1.0 if gate is None else 10 ** (gate / 20)
        self._changed = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._closed = False
        self._started = False
        self._rounds = self._ran = self._gated = 0
        self._thread = threading.Thread(target=self._work, name="silero", daemon=True)

    @classmethod
    def load(cls, path: Path | None = None, *, gate: float | None = -75.0) -> SileroDetector:
        """Load the model, by default the packaged one. Blocking, a fraction of a second.

        ``gate`` is a level in dBFS (RMS of a window): while a stream's last probability is low,
        quieter windows are answered 0 without running the model, and leave its state as it is;
        so are seven of eight windows that are hardly louder than its background. None switches
        that off.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # the file has unused initialisers, which is no news
        session = onnxruntime.InferenceSession(
            str(path or packaged_model()), options, providers=["CPUExecutionProvider"]
        )
        return cls(session, gate=gate)

    def open(self) -> VoiceStream:
        """A new stream, with nothing heard."""
        return _SileroStream(self)

    @property
    def stats(self) -> DetectorStats:
        with self._changed:
            return DetectorStats(self._rounds, self._ran, self._gated)

    def start(self) -> None:
        """Start the thread. Idempotent."""
        with self._changed:
            if self._started or self._closed:
                return
            self._started = True
        self._thread.start()

    async def close(self) -> None:
        """Fail what waits with ``ModelUnavailable`` and end the thread. Idempotent."""
        with self._changed:
            self._closed = True
            stranded = [request.future for request in self._waiting]
            self._waiting.clear()
            started = self._started
            self._changed.notify_all()
        stopped = ModelUnavailable("Voice detection has stopped.")
        deliver([(future, stopped) for future in stranded])
        if started:
            await asyncio.to_thread(self._thread.join)

    async def detect(self, memory: _Memory, windows: Windows) -> Probabilities:
        """The probabilities of a stream's next windows. Streams call this."""
        windows = np.ascontiguousarray(windows, dtype=np.float32).reshape(-1, WINDOW)
        rms = np.sqrt(np.mean(np.square(windows), axis=1))
        future: asyncio.Future[Probabilities] = asyncio.get_running_loop().create_future()
        request = _Request(
            memory=memory,
            windows=windows,
            levels=rms.tolist(),
            gate=self._threshold,
            future=future,
            probabilities=np.zeros(len(windows), dtype=np.float32),
        )
        # Idle streams are most streams: they cost no trip to the thread.
        idle = request.skip_quiet()
        with self._changed:
            if self._closed:
                raise ModelUnavailable("Voice detection has stopped.")
            self._gated += request.done
            if idle:
                return request.probabilities
            self._waiting.append(request)
            self._changed.notify()
        try:
            return await future
        except asyncio.CancelledError:
            request.dropped = True
            raise

    def _work(self) -> None:
        while batch := self._next_round():
            try:
                self._run(batch)
            except Exception:
                logger.exception("voice detection failed for %d streams", len(batch))
                failed = ModelUnavailable("Voice detection failed.")
                self._finish(batch, failed)
                continue
            done: list[_Request] = []
            left: list[_Request] = []
            gated = 0
            for request in batch:
                before = request.done
                (done if request.skip_quiet() else left).append(request)
                gated += request.done - before
            with self._changed:
                self._rounds += 1
                self._ran += len(batch)
                self._gated += gated
                # Behind those that wait: a long request is as many turns as it has windows.
                self._waiting.extend(left)
            self._finish(done, None)
        with self._changed:
            stranded = list(self._waiting)
            self._waiting.clear()
        self._finish(stranded, ModelUnavailable("Voice detection has stopped."))

    def _next_round(self) -> list[_Request]:
        """The requests whose next windows make a batch. Empty means: closed."""
        with self._changed:
            while not self._closed:
                batch: list[_Request] = []
                while self._waiting and len(batch) < _BATCH:
                    request = self._waiting.popleft()
                    if not request.dropped:
                        batch.append(request)
                if batch:
                    return batch
                self._changed.wait()
        return []

    def _run(self, batch: list[_Request]) -> None:
        rows = np.empty((len(batch), CONTEXT + WINDOW), dtype=np.float32)
        for row, request in zip(rows, batch, strict=True):
            row[:CONTEXT] = request.memory.context
            row[CONTEXT:] = request.windows[request.done]
        state = np.stack([request.memory.state for request in batch], axis=1)
        probabilities, states = self._session.run(
            None, {"input": rows, "state": state, "sr": np.array(SAMPLE_RATE, dtype=np.int64)}
        )
        for index, request in enumerate(batch):
            request.memory.state = states[:, index].copy()
            request.take(float(probabilities[index, 0]))

    def _finish(self, requests: list[_Request], error: SurtitleError | None) -> None:
        deliver([(request.future, error or request.probabilities) for request in requests])


class _SileroStream:
    """One stream's memory."""

    def __init__(self, detector: SileroDetector) -> None:
        self._detector = detector
        self._memory: _Memory | None = _Memory()
        self._busy = asyncio.Lock()

    async def detect(self, windows: Windows) -> Probabilities:
        """See the port. Raises ``ModelUnavailable`` after ``close`` or when the model fails."""
        async with self._busy:
            if self._memory is None:
                raise ModelUnavailable("This voice stream is closed.")
            return await self._detector.detect(self._memory, windows)

    def close(self) -> None:
        """See the port."""
        self._memory = None
