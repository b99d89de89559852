"""Sounds nobody speaks in, made the same each time; and the quiet after a recording."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from streaming.types import SAMPLE_RATE, Audio

SECONDS = 20.0
"""Length of each generated sound."""

Sound = NDArray[np.float64]

_SAMPLES = round(SECONDS * SAMPLE_RATE)
_FLOOR = 10 ** (-80 / 20)
_CEILING = 10 ** (-50 / 20)


def make(name: str) -> Audio:
    """A sound of :data:`SOUNDS`, mono float32 at 16 kHz."""
    return np.clip(SOUNDS[name](_random(name)), -1, 1).astype(np.float32)


def with_tail(audio: Audio, seconds: float = 2.0) -> Audio:
    """A recording that goes on, as a microphone does, with noise at its own noise floor.

    Recordings end where their speech ends, where a session would be ended by ``stop`` and never
    have to find the end of an utterance. The floor is the level of the quietest tenth of 20 ms
    frames, between −80 and −50 dBFS.
    """
    frames = audio[: len(audio) // 320 * 320].reshape(-1, 320)
    level = np.sqrt(np.quantile(np.mean(np.square(frames), axis=1), 0.1)) if len(frames) else 0.0
    noise = _random("tail").standard_normal(round(seconds * SAMPLE_RATE))
    tail = (noise * np.clip(level, _FLOOR, _CEILING)).astype(np.float32)
    return np.concatenate([audio, tail])


def _random(name: str) -> np.random.Generator:
    return np.random.default_rng(list(hashlib.sha256(name.encode()).digest()))


def _at(sound: Sound, decibels: float) -> Sound:
    """A sound at a level in dBFS (RMS)."""
    gain = 10 ** (decibels / 20) / float(np.sqrt(np.mean(np.square(sound))))
    return sound * gain


def _silence(_: np.random.Generator) -> Sound:
    return np.zeros(_SAMPLES)


def _noise(random: np.random.Generator, *, decibels: float, tilt: float) -> Sound:
    """Noise whose power falls with the frequency to the power of ``tilt``: 0 white, 1 pink."""
    return _at(_shaped(random, _SAMPLES, lambda hz: np.maximum(hz, 20.0) ** (-tilt / 2)), decibels)


def _shaped(random: np.random.Generator, samples: int, gain: Callable[[Sound], Sound]) -> Sound:
    hertz: Sound = np.fft.rfftfreq(samples, 1 / SAMPLE_RATE).astype(np.float64)
    spectrum = np.fft.rfft(random.standard_normal(samples))
    return np.fft.irfft(spectrum * gain(hertz), samples)


def _band(low: float, high: float) -> Callable[[Sound], Sound]:
    """A gain of 1 in a band, falling by an octave's width on both sides."""
    return lambda hz: np.exp(
        -np.square(np.log2(np.maximum(hz, 1.0) / np.sqrt(low * high)))
        / np.square(np.log2(high / low) / 2)
    )


def _hum(_: np.random.Generator, *, hertz: float) -> Sound:
    """Mains hum with harmonics."""
    time = np.arange(_SAMPLES) / SAMPLE_RATE
    tones: Sound = np.sin(2 * np.pi * hertz * np.outer(np.arange(1, 9), time))
    weighted: Sound = (1 / np.arange(1, 9)) @ tones
    return _at(weighted, -35)


def _sweep(_: np.random.Generator) -> Sound:
    """A sine from 100 Hz to 7 kHz, rising evenly in octaves."""
    time = np.arange(_SAMPLES) / SAMPLE_RATE
    rise = math.log(7000 / 100) / SECONDS
    sound: Sound = 0.1 * np.sin(2 * np.pi * 100 * (np.exp(rise * time) - 1) / rise)
    return sound


def _keyboard(random: np.random.Generator) -> Sound:
    """Keys pressed every 80 to 350 ms and let go: clicks of a few milliseconds, in a quiet room."""
    sound = _noise(random, decibels=-65, tilt=1)
    at = 0.2
    while at < SECONDS - 0.5:
        level = random.uniform(0.05, 0.2)
        for start, loud in ((at, level), (at + random.uniform(0.06, 0.12), level / 3)):
            size = round(random.uniform(0.004, 0.012) * SAMPLE_RATE)
            click = _shaped(random, 4 * size, _band(1500, 6000))
            click *= np.exp(-np.arange(4 * size) / size)
            begin = round(start * SAMPLE_RATE)
            sound[begin : begin + 4 * size] += loud * click / np.max(np.abs(click))
        at += random.uniform(0.08, 0.35)
    return sound


def _breath(random: np.random.Generator) -> Sound:
    """Breathing close to a microphone: bursts of filtered noise that rise and fall."""
    sound = _noise(random, decibels=-65, tilt=1)
    at = 0.5
    while at < SECONDS - 2.0:
        size = round(random.uniform(0.7, 1.5) * SAMPLE_RATE)
        burst = _at(_shaped(random, size, _band(300, 3000)), -30) * np.hanning(size)
        begin = round(at * SAMPLE_RATE)
        sound[begin : begin + size] += burst
        at += size / SAMPLE_RATE + random.uniform(0.4, 1.5)
    return sound


SOUNDS: Mapping[str, Callable[[np.random.Generator], Sound]] = MappingProxyType(
    {
        "silence": _silence,
        **{f"white{db}": partial(_noise, decibels=db, tilt=0) for db in (-60, -40, -25)},
        **{f"pink{db}": partial(_noise, decibels=db, tilt=1) for db in (-60, -40, -25)},
        **{f"hum{hertz}": partial(_hum, hertz=hertz) for hertz in (50, 60)},
        "keyboard": _keyboard,
        "breath": _breath,
        "sweep": _sweep,
    }
)
"""Makers of all generated sounds, by name: levels are in dBFS (RMS)."""
