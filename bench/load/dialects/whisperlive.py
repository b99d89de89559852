"""WhisperLive 0.10.0 (``whisper_live/server.py`` and ``backend/base.py``).

After a JSON message of options and ``SERVER_READY``, float32 frames. Each answer has the last
segments again; the one that is not ``completed`` may still change. A segment completes when later
speech or several seconds of silence follow it, and ``END_OF_AUDIO`` throws the rest away, so quiet
is sent until nothing changes any more.
"""

from __future__ import annotations

import json
import uuid
from typing import Final

import msgspec

from bench.load.dialects.base import Dialect, Message


class _Segment(msgspec.Struct):
    start: str
    text: str
    completed: bool = False


class _Answer(msgspec.Struct):
    message: str | float | None = None
    status: str | None = None
    segments: list[_Segment] = []


_answers: Final = msgspec.json.Decoder(_Answer)


class WhisperLiveDialect(Dialect):
    """Final is a segment that is ``completed``."""

    encoding = "f32"
    closes = True
    tail = (12.0, 90.0)

    def __init__(self) -> None:
        super().__init__()
        self._completed: dict[str, int] = {}
        """Numbers of completed segments, by their start."""

    def opening(self) -> list[Message]:
        options = {
            "uid": str(uuid.uuid4()),
            "language": "en",
            "task": "transcribe",
            "model": "base",
            "use_vad": True,
            "send_last_n_segments": 10,
            "no_speech_thresh": 0.45,
            "clip_audio": False,
            "same_output_threshold": 7,
        }
        return [json.dumps(options)]

    def closing(self) -> list[Message]:
        return [b"END_OF_AUDIO"]

    def receive(self, time: float, message: Message) -> None:
        answer = _answers.decode(message)
        if answer.message == "SERVER_READY":
            self.ready = True
        elif answer.message == "DISCONNECT":
            self.over = True
        elif answer.status is not None:
            self.transcript.notices[f"status {answer.status}"] += 1
            if not self.ready:
                self.refused = answer.status
        for segment in answer.segments:
            if segment.start in self._completed:
                continue
            number = len(self._completed)
            if segment.completed:
                self._completed[segment.start] = number
                self.transcript.finish(time, number, segment.text, whole=True)
            else:
                self.transcript.show(time, number, "", segment.text)
