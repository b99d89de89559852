"""WhisperLiveKit 0.2.26 (``whisperlivekit/basic_server.py``), LocalAgreement.

Frames are s16le. About ten times a second an answer has all ``lines``, whose text was agreed on,
and a ``buffer_transcription`` behind them that was not. An empty frame ends the stream.
"""

from __future__ import annotations

from typing import Final

import msgspec

from bench.load.dialects.base import Dialect, Message


class _Line(msgspec.Struct):
    text: str | None = None


class _Answer(msgspec.Struct):
    type: str = ""
    status: str = ""
    error: str = ""
    lines: list[_Line] = []
    buffer_transcription: str = ""


_answers: Final = msgspec.json.Decoder(_Answer)


class WhisperLiveKitDialect(Dialect):
    """Final is the text of ``lines``; a line goes on growing, so none is ever whole."""

    tail = (12.0, 90.0)

    def closing(self) -> list[Message]:
        return [b""]

    def receive(self, time: float, message: Message) -> None:
        answer = _answers.decode(message)
        if answer.error or answer.status == "error":
            self.transcript.notices[f"error {answer.error or answer.status}"] += 1
        if answer.type == "config":
            self.ready = True
        elif answer.type == "ready_to_stop":
            self.over = True
        elif not answer.type:
            self._show(time, answer)

    def _show(self, time: float, answer: _Answer) -> None:
        texts = [line.text or "" for line in answer.lines] or [""]
        for number, text in enumerate(texts):
            last = number == len(texts) - 1
            self.transcript.finish(time, number, text, whole=False)
            self.transcript.show(time, number, text, answer.buffer_transcription if last else "")
