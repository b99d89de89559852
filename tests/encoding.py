"""Speech encoded as files and live recordings of many kinds, for tests."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
from av import AudioFrame, AudioResampler

from streaming.types import SAMPLE_RATE, Audio


class Unseekable:
    """What a browser's recorder writes to: a stream that can't go back."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)


def encode(
    audio: Audio,
    container: str,
    codec: str,
    *,
    rate: int = 48_000,
    layout: str = "mono",
    live: bool = False,
    channels: int = 1,
) -> bytes:
    """Encode with PyAV. ``channels`` above 1 makes copies of the one channel there is."""
    file: Any = Unseekable() if live else io.BytesIO()
    options = {"live": "1", "cluster_time_limit": "500"} if live else {}
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout=layout)
        assert isinstance(stream, av.AudioStream)
        frame = AudioFrame.from_ndarray(audio[np.newaxis], format="flt", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, 0
        resampler = AudioResampler(
            format=stream.format.name,
            layout=layout if channels == 1 else "mono",
            rate=rate,
            frame_size=stream.codec_context.frame_size or 1024,
        )
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            for packet in stream.encode(piece if channels == 1 else repeated(piece, channels)):
                output.mux(packet)
        for packet in stream.encode(None):
            output.mux(packet)
    return bytes(file.data) if live else bytes(file.getvalue())


def repeated(frame: AudioFrame, channels: int) -> AudioFrame:
    samples: Any = np.repeat(frame.to_ndarray().reshape(-1, 1), channels, axis=1).reshape(1, -1)
    made = AudioFrame.from_ndarray(samples, format=frame.format.name, layout=f"{channels}C")
    made.sample_rate, made.pts = frame.sample_rate, frame.pts
    return made
