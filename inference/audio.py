"""Sound in any common form → mono float32 at 16 kHz. The only module that imports PyAV.

Two ways in: :func:`decode_file` for something that is there as a whole, and
:class:`PyAVContainerDecoder` for a browser's recording that comes in pieces. Formats are found by
content; names and content types are not asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from streaming.errors import AudioTooLong, BrokenStream, EmptyAudio, MediaError, UnsupportedMedia
from streaming.types import SAMPLE_RATE, Audio

FORMATS: Final = (
    "wav,w64,aiff,au,caf,flac,mp3,aac,ogg,matroska,webm,mov,mp4,m4a,3gp,asf,amr,mpegts,mpeg,flv,avi"
)
"""FFmpeg's names of the containers that are read. All others are refused before a byte of them is
interpreted: playlist formats (HLS, DASH, concat) would make the server open what they name."""

_RATES: Final = range(4_000, 768_001)
"""Sample rates a file may state. One of 1 Hz would turn a kilobyte into minutes of audio."""

_INTEGERS: Final = {"u8": (128.0, 128.0), "s16": (0.0, 2.0**15), "s32": (0.0, 2.0**31)}
"""The zero and the full scale of integer sample formats."""


@dataclass(frozen=True, slots=True, eq=False)
class DecodedAudio:
    """A decoded file. ``duration`` is in seconds; the names are FFmpeg's (``wav``, ``opus``)."""

    audio: Audio
    duration: float
    container: str
    codec: str


def decode_file(data: bytes | Path | BinaryIO, *, max_seconds: float) -> DecodedAudio:
    """Decode a whole audio file, or the first sound track of a video. Blocking.

    A damaged or truncated file gives what can be read of it. Never holds more than
    ``max_seconds`` of audio, whatever the file's headers say.

    Raises ``EmptyAudio`` (nothing, or no samples), ``UnsupportedMedia`` (not sound),
    ``AudioTooLong``, or ``MediaError`` (cannot be read at all).
    """
    if isinstance(data, Path):
        # A path given to FFmpeg would be taken for a URL.
        with data.open("rb") as file:
            return _decode(file, max_seconds)
    return _decode(BytesIO(data) if isinstance(data, bytes) else data, max_seconds)


def _decode(file: BinaryIO, max_seconds: float) -> DecodedAudio:
    if not file.read(1):
        raise EmptyAudio("The file is empty.")
    file.seek(0)
    budget = int(max_seconds * SAMPLE_RATE)
    pieces: list[Audio] = []
    with _open(file) as container:
        stream = _sound(container)
        for piece in _samples(container, stream):
            budget -= len(piece)
            if budget < 0:
                raise AudioTooLong(
                    f"The audio is longer than {max_seconds:g} seconds.", max_seconds=max_seconds
                )
            pieces.append(piece)
        name, codec = container.format.name, stream.codec_context.name
    if not any(map(len, pieces)):
        raise EmptyAudio("The file contains no sound.")
    audio = np.concatenate(pieces)
    return DecodedAudio(audio, len(audio) / SAMPLE_RATE, name, codec)


def _open(file: object, name: str | None = None) -> InputContainer:
    try:
        return av.open(
            file, "r", format=name, options={"format_whitelist": FORMATS}, metadata_errors="ignore"
        )
    except av.error.ArgumentError:  # FFmpeg's answer to a format off the list
        raise UnsupportedMedia("This is not a kind of audio file that is supported.") from None
    except (av.error.FFmpegError, ValueError):
        raise MediaError("The audio can't be read: it is damaged, or not audio.") from None


def _sound(container: InputContainer) -> AudioStream:
    for stream in container.streams.audio:
        # A codec this build of FFmpeg has no decoder for leaves no context.
        if stream.codec_context is not None:
            return stream
    raise UnsupportedMedia("The file has no sound track that can be decoded.")


def _samples(container: InputContainer, stream: AudioStream) -> Iterator[Audio]:
    """All samples at 16 kHz, in order. Raises ``MediaError`` if nothing at all can be decoded."""
    converter = _Converter()
    decoded = False
    fault: av.error.FFmpegError | None = None
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError as error:  # what came before the damage counts
            fault = error
            break
        if packet is None:
            break
        try:
            frames = packet.decode()
        except av.error.EOFError:
            break
        except av.error.FFmpegError as error:  # a bad packet is skipped, as players do
            fault = error
            continue
        for frame in frames:
            decoded = True
            yield from converter.convert(frame)
    yield from converter.flush()
    if fault is not None and not decoded:
        raise MediaError("The audio can't be decoded: it is damaged.") from fault


class _Converter:
    """Frames of any rate, layout and sample format → mono float32 at 16 kHz.

    A stream may change its form in the middle (chained Ogg, HE-AAC): then the resampler is
    drained and made anew.
    """

    def __init__(self) -> None:
        self._resampler: AudioResampler | None = None
        self._form: tuple[str, str, int] | None = None

    def convert(self, frame: AudioFrame) -> Iterator[Audio]:
        if frame.sample_rate not in _RATES:
            raise UnsupportedMedia(f"A sample rate of {frame.sample_rate} Hz is not supported.")
        frame = _mixable(frame)
        frame.pts = None  # containers' clocks are not sample-exact, and the resampler insists
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            yield from self.flush()
            self._resampler = AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
            self._form = form
        yield from self._run(frame)

    def flush(self) -> Iterator[Audio]:
        """The resampler's tail: its filter looks ahead."""
        yield from self._run(None)
        self._resampler = self._form = None

    def _run(self, frame: AudioFrame | None) -> Iterator[Audio]:
        if self._resampler is not None:
            for out in self._resampler.resample(frame):
                yield np.asarray(out.to_ndarray(), np.float32).reshape(-1)


def _mixable(frame: AudioFrame) -> AudioFrame:
    """The frame, or its channels' mean where FFmpeg knows no matrix for its layout.

    Layouts without named speakers (``3 channels``) come from multi-channel recorders.
    """
    if frame.layout.nb_channels == 1 or "channels" not in frame.layout.name:
        return frame
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    zero, scale = _INTEGERS.get(frame.format.name.removesuffix("p"), (0.0, 1.0))
    mean = (samples.mean(axis=0) - zero) / scale
    mixed = AudioFrame.from_ndarray(
        np.ascontiguousarray(mean[np.newaxis], np.float32), format="fltp", layout="mono"
    )
    mixed.sample_rate = frame.sample_rate
    return mixed


_STREAMABLE: Final = {b"\x1a\x45\xdf\xa3": "matroska", b"OggS": "ogg", b"fLaC": "flac"}
"""The first four bytes of the containers that can be read without seeking."""

_MAGIC_SIZE: Final = 4


class _Feed:
    """The file that FFmpeg reads: what was fed, and a wait for more where that is used up.

    ``read`` runs in the decoder's thread, everything else on the loop. The rendezvous is ``idle``:
    it is called, in the thread, whenever all that was fed is used up.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._data = b""
        self._position = 0
        self._ended = False
        self._waiter: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    def read(self, size: int) -> bytes:
        """At least one byte, at most ``size``; nothing at the end."""
        with self._changed:
            while self._position == len(self._data) and not self._ended:
                self._settle()
                self._changed.wait()
            chunk = self._data[self._position : self._position + size]
            self._position += len(chunk)
            return chunk

    def put(self, data: bytes, *, last: bool = False) -> asyncio.Future[None]:
        """Hand over bytes. The future is done when they are used up (``last``: at the end)."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._changed:
            self._waiter = (loop, future)
            if self._ended:  # nobody reads any more
                self._settle()
            else:
                self._data = self._data[self._position :] + data
                self._position = 0
                self._ended = last
                self._changed.notify()
        return future

    def end(self) -> None:
        """No more bytes, and whoever waits is let go."""
        with self._changed:
            self._data, self._position, self._ended = b"", 0, True
            self._settle()
            self._changed.notify()

    def _settle(self) -> None:
        if self._waiter is None:
            return
        loop, future = self._waiter
        self._waiter = None
        # A loop that has closed has nobody who waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, future)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():  # cancelled meanwhile
        future.set_result(None)


class PyAVContainerDecoder:
    """A live WebM, Ogg or FLAC stream, decoded as it arrives: a ``ContainerDecoder``.

    FFmpeg wants to read, so each stream has a thread that lives between the first ``feed`` and
    ``flush`` or ``close`` and sleeps while nothing comes. Memory is bounded by what one ``feed``
    brings: at most ``max_feed_seconds`` of audio (a few bytes of Opus can state minutes).
    What comes out does not depend on how the bytes were cut. One call at a time.
    """

    def __init__(self, *, max_feed_seconds: float = 600.0) -> None:
        self._limit = int(max_feed_seconds * SAMPLE_RATE)
        self._feed = _Feed()
        self._lock = threading.Lock()
        self._pieces: list[Audio] = []
        self._held = 0
        self._fault: BrokenStream | None = None
        self._thread: threading.Thread | None = None
        self._finished = False
        self._closed = False

    async def feed(self, data: bytes) -> Audio:
        """All samples that can be decoded with these bytes, float32 mono at 16 kHz.

        Raises ``BrokenStream``, after all that was decoded before the damage was returned.
        """
        return await self._hand_over(data, last=False) if data else self._take()

    async def flush(self) -> Audio:
        """The rest, after the last byte. Raises ``BrokenStream``."""
        return await self._hand_over(b"", last=True)

    def close(self) -> None:
        """Free the decoder and end its thread, also in the middle of a stream. Idempotent."""
        self._closed = True
        self._feed.end()
        with self._lock:
            self._pieces.clear()
            self._held = 0

    async def _hand_over(self, data: bytes, *, last: bool) -> Audio:
        if self._closed:
            raise BrokenStream("The decoder is closed.")
        if not self._finished and (data or self._thread is not None):
            done = self._feed.put(data, last=last)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._decode, name="container-decoder", daemon=True
                )
                self._thread.start()
            await done
        return self._take()

    def _take(self) -> Audio:
        with self._lock:
            pieces, self._pieces, self._held = self._pieces, [], 0
            if not pieces and self._fault is not None:
                raise self._fault
        return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)

    def _decode(self) -> None:
        """The thread."""
        fault: BrokenStream | None = None
        try:
            self._read_all()
        except BrokenStream as error:
            fault = error
        except MediaError as error:
            fault = BrokenStream(error.message)
            fault.__cause__ = error
        except Exception as error:  # noqa: BLE001 - the caller waits, and must hear of any end
            fault = BrokenStream("The audio stream can't be decoded any further.")
            fault.__cause__ = error
        with self._lock:
            self._fault = fault
        self._finished = True
        self._feed.end()

    def _read_all(self) -> None:
        """Read, decode and resample until the end of the stream."""
        head = b""
        while len(head) < _MAGIC_SIZE and (more := self._feed.read(_MAGIC_SIZE - len(head))):
            head += more
        if (name := _STREAMABLE.get(head)) is None:
            raise BrokenStream("The stream is none of WebM, Ogg and FLAC.")
        with _open(_Rest(head, self._feed), name) as container:
            for piece in _samples(container, _sound(container)):
                if self._closed:
                    return
                self._keep(piece)
        if self._feed.read(1):
            raise BrokenStream("The audio goes on after its container's end.")

    def _keep(self, piece: Audio) -> None:
        with self._lock:
            self._held += len(piece)
            if self._held > self._limit:
                raise BrokenStream("One message holds more audio than a live stream can carry.")
            self._pieces.append(piece)


class _Rest:
    """What was read for sniffing, then the rest. Cannot seek, as its lack of ``seek`` says."""

    def __init__(self, head: bytes, rest: _Feed) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int) -> bytes:
        if not self._head:
            return self._rest.read(size)
        chunk, self._head = self._head[:size], self._head[size:]
        return chunk
