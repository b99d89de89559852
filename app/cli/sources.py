"""Sound to send: mono 16 kHz, signed 16-bit little-endian, in frames of 40 ms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from inference.audio import decode_file
from streaming.errors import SurtitleError
from streaming.types import SAMPLE_RATE, Audio

FRAME: Final = SAMPLE_RATE * 40 // 1000
"""Samples in a frame."""
BYTES_PER_SECOND: Final = SAMPLE_RATE * 2

_LONGEST_SECONDS: Final = 24 * 3600.0
_BACKLOG_FRAMES: Final = 250


class NoMicrophone(SurtitleError):
    """There is nothing to record with."""

    code = "no_microphone"
    status = 400


def pcm(audio: Audio) -> bytes:
    """Float samples as the wire's default encoding."""
    return np.round(np.clip(audio, -1.0, 1.0) * 32767).astype("<i2").tobytes()


def file_source(path: Path) -> AsyncIterator[bytes]:
    """A file at the speed of its sound. Raises ``MediaError`` when it can't be read."""
    return paced(decode_file(path, max_seconds=_LONGEST_SECONDS).audio)


async def paced(audio: Audio, clock: Callable[[], float] = time.monotonic) -> AsyncIterator[bytes]:
    """Frames, each when a microphone would have it.

    Paced by the clock, not by waiting 40 ms again and again, which would add up to a delay.
    """
    started = clock()
    for start in range(0, len(audio), FRAME):
        frame = audio[start : start + FRAME]
        due = started + (start + len(frame)) / SAMPLE_RATE
        await asyncio.sleep(max(0.0, due - clock()))
        yield pcm(frame)


async def microphone_source() -> AsyncIterator[bytes]:
    """The default microphone, until interrupted. Raises ``NoMicrophone``."""
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package is there, PortAudio is not
        raise NoMicrophone(
            "The microphone needs the extra `mic`: pip install 'surtitle[mic]' "
            "(and, on Linux, the system's PortAudio)."
        ) from error
    loop = asyncio.get_running_loop()
    frames: asyncio.Queue[bytes] = asyncio.Queue(_BACKLOG_FRAMES)

    def keep(data: bytes) -> None:
        # A network that hangs for ten seconds: the oldest sound is the one nobody waits for.
        if frames.full():
            frames.get_nowait()
            click.echo("warning: the connection is too slow; sound was left out", err=True)
        frames.put_nowait(data)

    def heard(data: Any, *_: Any) -> None:
        loop.call_soon_threadsafe(keep, bytes(data))

    try:
        stream = sounddevice.RawInputStream(
            samplerate=SAMPLE_RATE, blocksize=FRAME, channels=1, dtype="int16", callback=heard
        )
    except sounddevice.PortAudioError as error:
        raise NoMicrophone(f"The microphone can't be opened: {error}") from error
    with stream:
        while True:
            yield await frames.get()
