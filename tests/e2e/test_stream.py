"""The whole path on real speech with real models, over a real socket."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import websockets

from bench.corpus import Clip, error_rate, normalize, utterances
from inference.models import ModelStore
from tests.e2e.client import REAL_TIME, Session, assert_well_formed, s16, stream
from tests.e2e.server import Server
from tests.speech import audioeval_clips, dev_clips

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

CONCURRENT = 4
ALLOWED_WER_LOSS = 1.5


def english() -> list[Clip]:
    """The development corpus where it is, else the clips that every clone has."""
    return utterances(dev_clips(), "en") or list(audioeval_clips("en"))


def fox() -> Clip:
    """A sentence that holds no number: those are written in more than one way."""
    return next(clip for clip in audioeval_clips("en") if "fox" in clip.id)


async def stream_all(server: Server, clips: list[Clip], **start: Any) -> list[Session]:
    gate = asyncio.Semaphore(CONCURRENT)

    async def one(clip: Clip) -> Session:
        async with gate:
            return await stream(server, s16(clip.audio()), **start)

    return await asyncio.gather(*(one(clip) for clip in clips))


def offline(clips: list[Clip], server: Server) -> list[str]:
    """Each file decoded whole with 30 s padding, by faster-whisper itself."""
    from faster_whisper import WhisperModel

    path = ModelStore(server.log.parent / "data").speech("base").path
    # Two files beside each other: two threads in one decode step wait for each other mostly.
    model = WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=1, num_workers=2)

    def decode(clip: Clip) -> str:
        segments, _ = model.transcribe(
            clip.audio(), language=clip.lang, beam_size=1, condition_on_previous_text=False
        )
        return "".join(segment.text for segment in segments)

    with ThreadPoolExecutor(2) as threads:
        return list(threads.map(decode, clips))


async def test_streaming_is_as_right_as_offline_and_every_utterance_is_translated(
    server: Server,
) -> None:
    clips = english()
    sessions = await stream_all(server, clips, source="en", targets=["pt"], interim=False)
    references = [clip.text or "" for clip in clips]
    heard = [session.text for session in sessions]
    decoded = await asyncio.to_thread(offline, clips, server)
    streamed = error_rate(references, heard, "en")
    whole = error_rate(references, decoded, "en")
    print(f"WER over /v1/stream {streamed:.2f}, offline {whole:.2f}, {len(clips)} clips")
    for clip, reference, live, file in zip(clips, references, heard, decoded, strict=True):
        if error_rate([reference], [live], "en") > error_rate([reference], [file], "en"):
            print(f"{clip.id}: {live!r}, offline {file!r}, was said {reference!r}")
    assert streamed <= whole + ALLOWED_WER_LOSS

    for clip, session in zip(clips, sessions, strict=True):
        assert_well_formed(session)
        assert session.finals, f"{clip.id}: nothing was said of it"
        assert all(session.translated("pt")), clip.id
        assert len(session.translated("pt")) == len(session.finals), clip.id


async def test_the_last_word_is_not_lost_on_stop(server: Server) -> None:
    """Audio that ends with the last sample of speech: no silence to find an endpoint in."""
    clips = english()[:40]
    ends = []
    for clip in clips:
        audio = clip.audio()
        loud = np.flatnonzero(np.abs(audio) > 0.05 * np.abs(audio).max())
        ends.append(s16(audio[: loud[-1] + 800]))
    gate = asyncio.Semaphore(CONCURRENT)

    async def one(data: bytes) -> Session:
        async with gate:
            return await stream(server, data, source="en", interim=False)

    sessions = await asyncio.gather(*(one(data) for data in ends))
    lost = []
    for clip, session in zip(clips, sessions, strict=True):
        # Without spaces: "one two three" may be written, and normalised, as one number or three.
        said, heard = (
            normalize(text, "en").replace(" ", "") for text in (clip.text or "", session.text)
        )
        # A word misheard is not a word lost: what is asked is that the end is there.
        if abs(len(said) - len(heard)) > max(5, len(said) // 5):
            lost.append((clip.id, said[-15:], heard[-15:]))
    assert len(lost) <= len(clips) // 20, lost


@pytest.mark.parametrize("interim", [False, True])
async def test_finals_are_the_same_however_the_audio_is_cut(server: Server, interim: bool) -> None:
    clips = english()[:3] if dev_clips() else list(audioeval_clips("en"))
    audio = np.concatenate(
        [part for clip in clips for part in (clip.audio(), np.zeros(16_000, dtype=np.float32))]
    )[: 20 * 16_000]
    data = s16(audio)
    found: dict[int, list[str]] = {}
    hurried: dict[int, list[str]] = {}
    for frame in (1, 333, 640, 3_200, 32_000):
        session = await stream(server, data, frame=frame, source="en", interim=interim)
        assert_well_formed(session)
        # Where partials were given up, what is promised depends on the load, and that is told.
        told = [event["code"] for event in session.of("warning")]
        (hurried if "degraded" in told else found)[frame] = session.finals
    assert len({tuple(texts) for texts in found.values()}) == 1, found
    # Single bytes are 640,000 messages: beside them a slow machine has no time for a partial.
    assert hurried.keys() <= {1}, hurried


@pytest.mark.parametrize("other", ["fr", "pt"])
async def test_a_conversation_in_two_languages(server: Server, other: str) -> None:
    """Each turn is captioned in its own language; a turn is two sentences said as one."""
    turns = []
    for number, lang in enumerate(("en", other, "en", other)):
        clips = audioeval_clips(lang)
        first, second = clips[number // 2], clips[2]
        gap = np.zeros(2_400, dtype=np.float32)
        pause = np.zeros(24_000, dtype=np.float32)
        turns.append((lang, np.concatenate([first.audio(), gap, second.audio(), pause])))
    audio = np.concatenate([turn for _, turn in turns])
    session = await stream(server, s16(audio), source="auto")
    assert_well_formed(session)
    ends = np.cumsum([len(turn) for _, turn in turns]) / 16_000
    heard: dict[int, set[str]] = {}
    for final in (event for event in session.events if event["type"] == "final"):
        turn = int(np.searchsorted(ends, final["start"]))
        heard.setdefault(turn, set()).add(final["language"])
    assert heard == {number: {lang} for number, (lang, _) in enumerate(turns)}


async def test_live_captions_come_while_speech_goes_on(server: Server) -> None:
    clip = fox()
    audio = np.concatenate([clip.audio(), np.zeros(16_000, dtype=np.float32)] * 2)
    session = await stream(
        server, s16(audio), frame=1280, pace=REAL_TIME, source="auto", targets=["pt"]
    )
    assert_well_formed(session)
    assert session.of("speech_started")
    assert session.of("speech_ended")
    partials = session.of("partial")
    assert partials
    assert partials[0]["seq"] < session.of("final")[0]["seq"]
    assert {event["language"] for event in session.of("final")} == {"en"}
    assert error_rate([f"{clip.text} {clip.text}"], [session.text], "en") <= 20
    assert len(session.translated("pt")) == len(session.finals)


@pytest.mark.parametrize("lang", ["pt", "es", "fr"])
async def test_other_languages_are_detected_and_translated(server: Server, lang: str) -> None:
    clips = audioeval_clips(lang)
    target = "pt" if lang != "pt" else "en"
    for clip in clips:
        session = await stream(server, s16(clip.audio()), targets=[target])
        assert_well_formed(session)
        assert {event["language"] for event in session.of("final")} == {lang}, clip.id
        assert all(session.translated(target)), clip.id


async def test_encodings_and_rates_say_the_same(server: Server) -> None:
    clip = fox()
    audio = clip.audio()
    as_float = await stream(
        server, audio.astype("<f4").tobytes(), encoding="pcm_f32le", source="en"
    )
    stereo = np.stack([audio, audio], axis=1)
    as_stereo = await stream(server, s16(stereo), channels=2, source="en")
    assert as_float.finals == as_stereo.finals
    assert error_rate([clip.text or ""], [as_float.text], "en") <= 20


async def test_word_timestamps(server: Server) -> None:
    clip = fox()
    session = await stream(server, s16(clip.audio()), source="en", word_timestamps=True)
    (final, *_) = session.of("final")
    words = final["words"]
    assert " ".join(word["text"] for word in words) == final["text"]
    assert len(words) == len((clip.text or "").split())
    times = [time for word in words for time in (word["start"], word["end"])]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= len(clip.audio()) / 16_000 + 0.1


@pytest.mark.parametrize(
    ("sent", "code", "fatal"),
    [
        ('{"type": "finalize"}', "not_started", False),
        ('{"type": "start", "sample_rate": 4000}', "unsupported_sample_rate", False),
        ('{"type": "start", "sample_rate": "fast"}', "invalid_message", False),
        ('{"type": "start", "encoding": "mp7"}', "unsupported_encoding", False),
        ('{"type": "start", "source": "klingon"}', "unknown_language", False),
        ('{"type": "start", "targets": ["zz"]}', "unknown_language", False),
        ("garbage", "invalid_json", False),
        ("[]", "invalid_message", False),
        ('{"type": "dance"}', "unknown_type", False),
        (b"\0" * 640, "not_started", False),
        (b"\0" * 10_000_000, "message_too_large", True),
        ("[" * 100_000, "invalid_message", False),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_bad_input_is_told(server: Server, sent: str | bytes, code: str, fatal: bool) -> None:
    async with websockets.connect(
        server.stream_url, additional_headers=server.headers, max_size=None
    ) as socket:
        await socket.send(sent)
        event = json.loads(await socket.recv())
        assert (event["type"], event["code"], event["fatal"]) == ("error", code, fatal)
        assert event["message"]
        if fatal:
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()
            assert socket.close_code == 4413
            return
        await socket.send('{"type": "start"}')
        assert json.loads(await socket.recv())["type"] == "ready"


async def test_a_broken_container_is_told(server: Server) -> None:
    session = await stream(server, b"this is no WebM " * 400, encoding="webm")
    assert [event["code"] for event in session.of("error")] == ["invalid_audio"]
