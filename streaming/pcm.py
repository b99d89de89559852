"""Raw audio bytes of any supported form, made into 512-sample windows at 16 kHz.

Bytes are gathered into fixed quanta before anything is computed on them, so that the samples that
come out are the same however the bytes were cut into frames: a sender of single bytes and a sender
of whole seconds get the same captions.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from streaming.errors import UnsupportedChannels, UnsupportedEncoding, UnsupportedSampleRate
from streaming.types import SAMPLE_RATE, WINDOW, Audio, Windows

RAW_ENCODINGS: Final = {"pcm_s16le": 2, "pcm_f32le": 4, "mulaw": 1, "alaw": 1}
"""Raw encodings and their bytes per sample."""

CONTAINER_ENCODINGS: Final = frozenset({"opus", "ogg", "webm"})
"""Encodings whose bytes are a container (Ogg or WebM, told apart by content)."""

MIN_RATE: Final = 8_000
MAX_RATE: Final = 96_000
MAX_CHANNELS: Final = 8

_QUANTUM_SECONDS: Final = 0.01


def _expand_mulaw() -> Audio:
    """ITU-T G.711 µ-law codes as float samples, shape (256,)."""
    code = ~np.arange(256, dtype=np.uint8)
    exponent = (code >> 4) & 7
    mantissa = (code & 15).astype(np.int32)
    magnitude = (((mantissa << 3) + 0x84) << exponent) - 0x84
    return (np.where(code & 0x80, -magnitude, magnitude) / 32768).astype(np.float32)


def _expand_alaw() -> Audio:
    """ITU-T G.711 A-law codes as float samples, shape (256,)."""
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent = ((code >> 4) & 7).astype(np.int32)
    mantissa = (code & 15).astype(np.int32)
    linear = (mantissa << 4) + 8
    magnitude = np.where(exponent, (linear + 0x100) << np.maximum(exponent - 1, 0), linear)
    return (np.where(code & 0x80, magnitude, -magnitude) / 32768).astype(np.float32)


_TABLES: Final = {"mulaw": _expand_mulaw(), "alaw": _expand_alaw()}


class PcmDecoder:
    """Decodes one stream of raw audio into mono float32 at 16 kHz.

    Odd bytes are carried over; channels are averaged; samples that are not finite count as
    silence. At most 10 ms of input waits inside, plus the resampler's delay.

    Raises ``UnsupportedEncoding``, ``UnsupportedSampleRate`` or ``UnsupportedChannels``.
    """

    def __init__(self, encoding: str, sample_rate: int, channels: int) -> None:
        if encoding not in RAW_ENCODINGS:
            known = ", ".join([*RAW_ENCODINGS, *sorted(CONTAINER_ENCODINGS)])
            raise UnsupportedEncoding(f"unknown encoding {encoding!r}; known are {known}")
        if not MIN_RATE <= sample_rate <= MAX_RATE:
            raise UnsupportedSampleRate(
                f"sample_rate {sample_rate} is outside {MIN_RATE}…{MAX_RATE} Hz"
            )
        if not 1 <= channels <= MAX_CHANNELS:
            raise UnsupportedChannels(f"channels {channels} is outside 1…{MAX_CHANNELS}")
        self._encoding = encoding
        self._channels = channels
        self.frame: Final = RAW_ENCODINGS[encoding] * channels
        """Bytes of one sample of all channels."""
        self._quantum = self.frame * max(1, round(sample_rate * _QUANTUM_SECONDS))
        self._pending = bytearray()
        self._resampler = (
            None
            if sample_rate == SAMPLE_RATE
            else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32", quality="HQ")
        )

    def feed(self, data: bytes) -> Audio:
        """All samples that can be given now, shape ``(n,)``; n may be 0."""
        if self._resampler is None and not self._pending and len(data) % self._quantum == 0:
            return self._samples(data)
        self._pending += data
        whole = len(self._pending) - len(self._pending) % self._quantum
        if not whole:
            return np.empty(0, dtype=np.float32)
        if self._resampler is None:
            return self._take(whole)
        # The resampler is called with one quantum at a time: what it gives back then depends on
        # how much came in all, and not on how it was cut.
        parts = [
            self._resampler.resample_chunk(self._take(self._quantum))
            for _ in range(whole // self._quantum)
        ]
        return np.concatenate(parts)

    def flush(self) -> Audio:
        """The rest, at the end of the stream. A torn last frame is left out."""
        rest = self._take(len(self._pending) - len(self._pending) % self.frame)
        self._pending.clear()
        if self._resampler is None:
            return rest
        tail: Audio = self._resampler.resample_chunk(rest, last=True)
        return tail

    def _take(self, size: int) -> Audio:
        data = bytes(memoryview(self._pending)[:size])
        del self._pending[:size]
        return self._samples(data)

    def _samples(self, data: bytes) -> Audio:
        samples = self._expanded(data)
        if self._channels > 1:
            samples = samples.reshape(-1, self._channels).mean(axis=1, dtype=np.float32)
        return samples

    def _expanded(self, data: bytes) -> Audio:
        if self._encoding == "pcm_s16le":
            integers: NDArray[np.int16] = np.frombuffer(data, dtype="<i2")
            # In two steps: one ufunc that casts goes through buffers, which cost ten times as much.
            scaled = integers.astype(np.float32)
            scaled *= np.float32(1 / 32768)
            return scaled
        if self._encoding == "pcm_f32le":
            floats = np.frombuffer(data, dtype="<f4")
            finite: Audio = np.nan_to_num(floats, posinf=0, neginf=0)
            return finite.clip(-1, 1)
        expanded: Audio = _TABLES[self._encoding][np.frombuffer(data, dtype=np.uint8)]
        return expanded


class Windower:
    """Cuts samples into consecutive windows of 512."""

    def __init__(self) -> None:
        self._rest: Audio = np.empty(0, dtype=np.float32)

    def feed(self, samples: Audio) -> Windows:
        """All whole windows, shape ``(n, 512)``; n may be 0."""
        joined = np.concatenate((self._rest, samples)) if self._rest.size else samples
        whole = joined.size - joined.size % WINDOW
        self._rest = joined[whole:].copy()  # a view would keep all of it
        return joined[:whole].reshape(-1, WINDOW)

    def flush(self) -> Windows:
        """What is left, filled up with silence: shape ``(1, 512)``, or ``(0, 512)`` if nothing."""
        rest, self._rest = self._rest, np.empty(0, dtype=np.float32)
        if not rest.size:
            return np.empty((0, WINDOW), dtype=np.float32)
        window = np.zeros((1, WINDOW), dtype=np.float32)
        window[0, : rest.size] = rest
        return window
