"""Decoding of files and of live containers. The recordings are made here, from real speech."""

from __future__ import annotations

import asyncio
import io
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inference.audio import PyAVContainerDecoder, decode_file
from streaming.errors import AudioTooLong, BrokenStream, EmptyAudio, MediaError, UnsupportedMedia
from streaming.types import SAMPLE_RATE, Audio
from tests.encoding import encode
from tests.speech import audioeval_clips


@cache
def speech() -> Audio:
    """A few seconds of English."""
    return audioeval_clips("en")[0].audio()


def tone(seconds: float) -> Audio:
    wave: Audio = (np.sin(np.arange(round(seconds * SAMPLE_RATE)) * 0.3) / 2).astype(np.float32)
    return wave


@cache
def recording(container: str, codec: str) -> bytes:
    return encode(speech(), container, codec, live=container == "webm")


STREAMS = [("webm", "libopus"), ("ogg", "libopus"), ("ogg", "flac"), ("flac", "flac")]


def similarity(heard: Audio, spoken: Audio) -> float:
    """The highest correlation within 100 ms: codecs delay a little."""
    size = min(len(heard), len(spoken)) - 1600
    a = spoken[:size]
    best = 0.0
    for delay in range(0, 1600, 4):
        b = heard[delay : delay + size]
        best = max(best, float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b) + 1e-9)))
    return best


@pytest.mark.parametrize(
    ("container", "codec", "rate", "layout", "name", "least"),
    [
        ("wav", "pcm_s16le", 16_000, "mono", "wav", 0.999),
        ("wav", "pcm_s24le", 44_100, "stereo", "wav", 0.99),
        ("wav", "pcm_f32le", 48_000, "5.1", "wav", 0.99),
        ("wav", "pcm_mulaw", 8_000, "mono", "wav", 0.9),
        ("wav", "pcm_u8", 16_000, "mono", "wav", 0.9),
        ("aiff", "pcm_s16be", 22_050, "mono", "aiff", 0.99),
        ("flac", "flac", 48_000, "mono", "flac", 0.99),
        ("mp3", "libmp3lame", 44_100, "stereo", "mp3", 0.95),
        ("ogg", "libopus", 48_000, "mono", "ogg", 0.9),
        ("webm", "libopus", 48_000, "stereo", "matroska,webm", 0.9),
        ("mp4", "aac", 44_100, "stereo", "mov,mp4,m4a,3gp,3g2,mj2", 0.95),
        ("adts", "aac", 48_000, "mono", "aac", 0.85),
    ],
)
def test_common_formats_are_told_by_content(
    container: str, codec: str, rate: int, layout: str, name: str, least: float
) -> None:
    decoded = decode_file(
        encode(speech(), container, codec, rate=rate, layout=layout), max_seconds=60
    )
    assert decoded.container == name
    assert decoded.codec
    assert decoded.audio.dtype == np.float32
    assert decoded.audio.ndim == 1
    assert decoded.duration == len(decoded.audio) / SAMPLE_RATE
    assert decoded.duration == pytest.approx(len(speech()) / SAMPLE_RATE, abs=0.1)
    assert similarity(decoded.audio, speech()) > least


def test_channels_without_a_known_layout_are_averaged() -> None:
    data = encode(speech(), "wav", "pcm_s16le", rate=16_000, layout="11C", channels=11)
    decoded = decode_file(data, max_seconds=60)
    assert similarity(decoded.audio, speech()) > 0.999
    assert np.abs(decoded.audio).max() == pytest.approx(np.abs(speech()).max(), abs=0.01)


def test_a_path_a_file_and_bytes_are_alike(tmp_path: Path) -> None:
    data = recording("ogg", "libopus")
    path = tmp_path / "http:speech.mp3"  # neither a URL nor an MP3
    path.write_bytes(data)
    expected = decode_file(data, max_seconds=60).audio
    np.testing.assert_array_equal(decode_file(path, max_seconds=60).audio, expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(decode_file(file, max_seconds=60).audio, expected)


def test_nothing_is_empty() -> None:
    with pytest.raises(EmptyAudio, match="file is empty"):
        decode_file(b"", max_seconds=60)
    header, _, _ = encode(tone(1), "wav", "pcm_s16le").partition(b"data")
    with pytest.raises(EmptyAudio, match="no sound"):
        decode_file(header + b"data" + bytes(4), max_seconds=60)


def playlist(target: Path) -> bytes:
    lines = ("#EXTM3U", "#EXT-X-TARGETDURATION:9", "#EXTINF:9,", f"file://{target}")
    return "\n".join((*lines, "#EXT-X-ENDLIST", "")).encode()


@pytest.mark.parametrize("kind", ["playlist", "concat", "picture", "text", "noise", "headers"])
def test_what_is_no_audio_is_refused(
    kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(encode(tone(0.5), "wav", "pcm_s16le"))
    data = {
        "playlist": playlist(secret),
        "concat": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(200),
        "text": b"To be, or not to be, that is the question.\n" * 50,
        "noise": np.random.default_rng(1).bytes(20_000),
        "headers": recording("webm", "libopus")[:60],
    }[kind]
    with pytest.raises(MediaError) as caught:
        decode_file(data, max_seconds=60)
    assert not isinstance(caught.value, EmptyAudio)
    assert caught.value.status in (400, 415)
    captured = capfd.readouterr()
    assert captured.err == captured.out == ""


def test_a_film_without_sound_is_unsupported() -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=5)
        assert isinstance(stream, av.VideoStream)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for _ in range(3):
            output.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        output.mux(stream.encode(None))
    with pytest.raises(UnsupportedMedia, match="no sound track"):
        decode_file(file.getvalue(), max_seconds=60)


def test_a_truncated_file_gives_what_it_has(capfd: pytest.CaptureFixture[str]) -> None:
    whole = encode(speech(), "flac", "flac")
    part = decode_file(whole[: len(whole) // 2], max_seconds=60)
    assert 0.2 < part.duration < len(speech()) / SAMPLE_RATE
    damaged = bytearray(whole)
    damaged[len(damaged) // 2 : len(damaged) // 2 + 50] = bytes(50)
    assert decode_file(bytes(damaged), max_seconds=60).duration > 0.2
    assert capfd.readouterr().err == ""


def test_a_bomb_is_stopped_while_decoding() -> None:
    hour = encode(np.zeros(600 * SAMPLE_RATE, np.float32), "flac", "flac", rate=16_000)
    assert len(hour) < 200_000
    with pytest.raises(AudioTooLong) as caught:
        decode_file(hour, max_seconds=5)
    assert caught.value.details == {"max_seconds": 5}


def test_exactly_as_long_as_allowed_is_not_too_long() -> None:
    data = encode(tone(2.0), "wav", "pcm_s16le", rate=16_000)
    assert decode_file(data, max_seconds=2.0).duration == 2.0
    with pytest.raises(AudioTooLong):
        decode_file(data, max_seconds=1.999)


def test_a_rate_that_would_blow_up_is_refused() -> None:
    data = bytearray(encode(tone(1.0), "wav", "pcm_s16le", rate=16_000))
    position = data.index(b"fmt ") + 12
    data[position : position + 4] = (1).to_bytes(4, "little")
    with pytest.raises(UnsupportedMedia, match="1 Hz"):
        decode_file(bytes(data), max_seconds=1e9)


async def decode_pieces(pieces: list[bytes]) -> Audio:
    decoder = PyAVContainerDecoder()
    try:
        heard = [await decoder.feed(piece) for piece in pieces]
        return np.concatenate([*heard, await decoder.flush()])
    finally:
        decoder.close()


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]


@pytest.mark.parametrize("size", [7, 100, 1_000, 16_384, 1 << 24])
@pytest.mark.parametrize(("container", "codec"), STREAMS)
async def test_a_live_stream_decodes_as_the_file_does(
    container: str, codec: str, size: int
) -> None:
    data = recording(container, codec)
    heard = await decode_pieces(cut(data, size))
    np.testing.assert_array_equal(heard, decode_file(data, max_seconds=60).audio)


async def test_byte_by_byte_is_fine_too() -> None:
    data = encode(tone(0.3), "webm", "libopus", live=True)
    heard = await decode_pieces(cut(data, 1))
    np.testing.assert_array_equal(heard, decode_file(data, max_seconds=60).audio)


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(cuts=st.lists(st.integers(0, 1 << 16), max_size=12), stream=st.sampled_from(STREAMS))
def test_cuts_make_no_difference(cuts: list[int], stream: tuple[str, str]) -> None:
    data = recording(*stream)
    edges = sorted({0, len(data), *(edge % len(data) for edge in cuts)})
    pieces = [data[a:b] for a, b in pairwise(edges)]
    heard = asyncio.run(decode_pieces([b"", *pieces, b""]))
    np.testing.assert_array_equal(heard, decode_file(data, max_seconds=60).audio)


async def test_audio_comes_while_the_stream_still_runs() -> None:
    data = recording("webm", "libopus")
    decoder = PyAVContainerDecoder()
    half = await decoder.feed(data[: len(data) // 2])
    assert len(half) > 0.3 * len(speech())
    decoder.close()


@pytest.mark.parametrize(
    "data", [b"x" * 100, b"RIFF" + bytes(100), b"OggS" + b"\xff" * 5_000, b"\x1a\x45\xdf\xa3abcdef"]
)
async def test_garbage_breaks_the_stream_and_goes_on_doing_so(
    data: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    decoder = PyAVContainerDecoder()
    heard = 0
    with pytest.raises(BrokenStream):  # noqa: PT012 - by which call is FFmpeg's business
        for _ in range(200):
            heard += len(await decoder.feed(data))
        await decoder.flush()
    assert heard == 0
    with pytest.raises(BrokenStream):
        await decoder.feed(data)
    with pytest.raises(BrokenStream):
        await decoder.flush()
    decoder.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("size", [3, 1_000, 1 << 20])
async def test_what_was_heard_before_the_end_comes_first(size: int) -> None:
    """The header of a stream, cut off: a browser that went away."""
    data = recording("webm", "libopus")
    part = data[: len(data) * 2 // 3]
    heard = await decode_pieces(cut(part, size))
    np.testing.assert_array_equal(heard, decode_file(part, max_seconds=60).audio)


async def test_an_unused_decoder_ends_quietly() -> None:
    decoder = PyAVContainerDecoder()
    assert len(await decoder.feed(b"")) == 0
    assert len(await decoder.flush()) == 0
    decoder.close()
    with pytest.raises(BrokenStream, match="closed"):
        await decoder.feed(b"OggS")


async def test_closing_in_the_middle_ends_the_thread() -> None:
    data = recording("webm", "libopus")
    decoder = PyAVContainerDecoder()
    await decoder.feed(data[: len(data) // 2])
    thread = decoder._thread
    assert thread is not None
    assert thread.is_alive()
    decoder.close()
    decoder.close()
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()


async def test_a_cancelled_feed_loses_nothing() -> None:
    data = recording("ogg", "libopus")
    decoder = PyAVContainerDecoder()
    task = asyncio.ensure_future(decoder.feed(data[:3_000]))
    await asyncio.sleep(0)  # let it hand its bytes over
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    heard = [await decoder.feed(data[3_000:]), await decoder.flush()]
    decoder.close()
    np.testing.assert_array_equal(np.concatenate(heard), decode_file(data, max_seconds=60).audio)


async def test_streams_share_nothing() -> None:
    streams = [recording(*stream) for stream in STREAMS] * 3
    heard = await asyncio.gather(*(decode_pieces(cut(data, 2_000)) for data in streams))
    for data, audio in zip(streams, heard, strict=True):
        np.testing.assert_array_equal(audio, decode_file(data, max_seconds=60).audio)


async def test_a_message_can_not_unfold_without_end() -> None:
    silence = encode(np.zeros(60 * SAMPLE_RATE, np.float32), "ogg", "libopus")
    decoder = PyAVContainerDecoder(max_feed_seconds=5)
    heard = await decoder.feed(silence)
    assert len(heard) <= 5 * SAMPLE_RATE
    with pytest.raises(BrokenStream, match="more audio than a live stream"):
        await decoder.flush()
    decoder.close()
