"""A sound for asking a model whether it answers."""

from __future__ import annotations

import numpy as np

from streaming.types import SAMPLE_RATE, Audio

_PITCH = 120.0
_SYLLABLES = 4.0  # a second
_FORMANTS = ((650.0, 80.0), (1100.0, 90.0), (2500.0, 120.0))
"""Hz of the resonances of an open vowel, and their widths."""


def murmur(seconds: float) -> Audio:
    """A hum with the pitch, the resonances and the pace of a voice."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    harmonics = np.arange(_PITCH, 4000.0, _PITCH)
    gains = np.zeros_like(harmonics)
    for at, width in _FORMANTS:
        gains += 1 / (1 + ((harmonics - at) / width) ** 2)
    voice = (gains[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(axis=0)
    voice *= np.sin(np.pi * _SYLLABLES * time) ** 2
    return np.asarray(0.2 * voice / np.abs(voice).max(), dtype=np.float32)
