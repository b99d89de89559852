"""PCM in every supported form comes out as the same 16 kHz windows."""

from __future__ import annotations

import io
import weakref
from itertools import pairwise

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.errors import UnsupportedChannels, UnsupportedEncoding, UnsupportedSampleRate
from streaming.pcm import RAW_ENCODINGS, PcmDecoder, Windower
from streaming.types import SAMPLE_RATE, WINDOW, Audio


def tone(rate: int, seconds: float = 0.4, hertz: float = 440) -> Audio:
    t = np.arange(round(rate * seconds)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def decode(decoder: PcmDecoder, data: bytes, cuts: list[int]) -> Audio:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    parts = [decoder.feed(data[a:b]) for a, b in pairwise(edges)]
    return np.concatenate([*parts, decoder.flush()])


@given(
    encoding=st.sampled_from(sorted(RAW_ENCODINGS)),
    rate=st.sampled_from([8000, 11025, 16000, 44100, 48000, 96000]),
    channels=st.integers(1, 3),
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(0, 9000),
    cuts=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_output_does_not_depend_on_how_bytes_are_cut(
    encoding: str, rate: int, channels: int, seed: int, size: int, cuts: list[int]
) -> None:
    data = np.random.default_rng(seed).bytes(size)
    whole = decode(PcmDecoder(encoding, rate, channels), data, [])
    cut = decode(PcmDecoder(encoding, rate, channels), data, cuts)
    assert np.array_equal(whole, cut)
    assert np.isfinite(whole).all()


def test_single_bytes_equal_one_block() -> None:
    data = (tone(44_100) * 32767).astype("<i2").tobytes()
    decoder = PcmDecoder("pcm_s16le", 44_100, 1)
    parts = [decoder.feed(data[i : i + 1]) for i in range(len(data))]
    whole = decode(PcmDecoder("pcm_s16le", 44_100, 1), data, [])
    assert np.array_equal(np.concatenate([*parts, decoder.flush()]), whole)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 96000])
def test_resampling_keeps_length_and_tone(rate: int) -> None:
    out = decode(PcmDecoder("pcm_f32le", rate, 1), tone(rate).astype("<f4").tobytes(), [])
    assert abs(out.size - 0.4 * SAMPLE_RATE) <= 2
    expected = tone(SAMPLE_RATE)
    middle = slice(800, 5600)
    assert np.abs(out[middle] - expected[middle]).max() < 0.01


@pytest.mark.parametrize(("encoding", "codec"), [("mulaw", "pcm_mulaw"), ("alaw", "pcm_alaw")])
def test_g711_tables_equal_ffmpeg(encoding: str, codec: str) -> None:
    file = io.BytesIO()
    with av.open(file, "w", format="wav") as container:
        stream = container.add_stream(codec, rate=16_000)
        packet = av.Packet(bytes(range(256)))
        packet.stream = stream
        packet.pts = packet.dts = 0
        container.mux(packet)
    file.seek(0)
    with av.open(file, "r") as wav:
        frames = [frame.to_ndarray().ravel() for frame in wav.decode(audio=0)]
    expected = np.concatenate(frames).astype(np.float32) / 32768
    ours = decode(PcmDecoder(encoding, 16_000, 1), bytes(range(256)), [])
    assert np.array_equal(ours, expected)


def test_channels_are_averaged() -> None:
    left, right = tone(16_000), np.zeros(6400, dtype=np.float32)
    data = np.stack([left, right], axis=1).astype("<f4").tobytes()
    out = decode(PcmDecoder("pcm_f32le", 16_000, 2), data, [])
    assert np.allclose(out, left / 2)


def test_samples_that_are_not_finite_become_silence() -> None:
    data = np.array([np.nan, np.inf, -np.inf, 7.0, -7.0], dtype="<f4").tobytes()
    out = decode(PcmDecoder("pcm_f32le", 16_000, 1), data, [])
    assert out.tolist() == [0, 0, 0, 1, -1]


def test_torn_last_frame_is_left_out() -> None:
    assert decode(PcmDecoder("pcm_s16le", 16_000, 1), b"\x00\x40\x01", []).tolist() == [0.5]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("flac", 16_000, 1), UnsupportedEncoding),
        (("pcm_s16le", 7_999, 1), UnsupportedSampleRate),
        (("pcm_s16le", 96_001, 1), UnsupportedSampleRate),
        (("pcm_s16le", 16_000, 0), UnsupportedChannels),
        (("pcm_s16le", 16_000, 9), UnsupportedChannels),
    ],
)
def test_what_is_not_supported_is_refused(
    arguments: tuple[str, int, int], error: type[Exception]
) -> None:
    with pytest.raises(error):
        PcmDecoder(*arguments)


@given(sizes=st.lists(st.integers(0, 2000), max_size=10))
def test_windows_hold_every_sample_in_order(sizes: list[int]) -> None:
    samples = np.arange(1, sum(sizes) + 1, dtype=np.float32)
    windower, windows, at = Windower(), [], 0
    for size in sizes:
        windows.append(windower.feed(samples[at : at + size]))
        at += size
    windows.append(windower.flush())
    out = np.concatenate(windows).ravel()
    assert out.size % WINDOW == 0
    assert np.array_equal(out[: samples.size], samples)
    assert not out[samples.size :].any()
    assert out.size - samples.size < WINDOW


def test_of_what_was_cut_into_windows_only_the_rest_is_kept() -> None:
    """A thousand sessions that are listened to by the second would keep a second each."""
    windower = Windower()
    samples = np.zeros(16_000, dtype=np.float32)
    seen = weakref.ref(samples)
    assert windower.feed(samples).shape == (31, WINDOW)
    del samples
    assert seen() is None
    assert windower.feed(np.zeros(WINDOW, dtype=np.float32)).shape == (1, WINDOW)
