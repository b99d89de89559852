from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from inference.fakes import FakeRecognizer, Tones, silence
from streaming.errors import TranslationFailed
from streaming.types import Audio, Priority
from tests.app.support import Fakes, admin, client, running, wav


def speech() -> Audio:
    tones = Tones()
    return np.concatenate(
        [
            silence(0.5),
            tones.speak("Good morning. How are you?"),
            silence(3.0),
            tones.speak("Goodbye."),
            silence(1.0),
        ]
    )


def form(audio: Audio, name: str = "a.wav") -> dict[str, Any]:
    return {"file": (name, wav(audio), "application/x-nonsense")}


async def test_json(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):
        answer = await http.post("/transcribe/audio", files=form(speech(), "a.exe"))
        assert answer.status_code == 200
        body = answer.json()
        assert body["text"] == "Good morning. How are you? Goodbye."
        assert (body["language"], body["duration"], body["cached"]) == ("en", 6.036, False)
        texts = [segment["text"] for segment in body["segments"]]
        assert texts == ["Good morning.", "How are you?", "Goodbye."]
        starts = [segment["start"] for segment in body["segments"]]
        assert starts == pytest.approx([0.5, 1.012, 4.78], abs=0.1)
        assert set(body["segments"][0]) == {"id", "start", "end", "text"}
        assert "translation" not in body
        assert {job.priority for job in fakes.recognizer.jobs} == {Priority.OFFLINE}


async def test_verbose_json_with_a_translation(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        data = {"target": "pt", "format": "verbose_json"}
        body = (await http.post("/transcribe/audio", files=form(speech()), data=data)).json()
        words = body["segments"][0]["words"]
        assert [word["text"] for word in words] == ["Good", "morning."]
        assert body["segments"][0]["confidence"] == 0.9
        translation = body["translation"]
        assert translation["target"] == "pt"
        assert translation["segments"][0]["text"] == "[pt] GOOD MORNING."
        assert translation["segments"][0]["start"] == body["segments"][0]["start"]
        assert translation["text"].startswith("[pt] GOOD MORNING. [pt] HOW")


@pytest.mark.parametrize(
    ("name", "media_type", "text"),
    [
        ("text", "text/plain; charset=utf-8", "Good morning. How are you? Goodbye."),
        ("srt", "application/x-subrip; charset=utf-8", "00:00:00,4"),
        ("vtt", "text/vtt; charset=utf-8", "WEBVTT"),
    ],
)
async def test_other_forms(tmp_path: Path, name: str, media_type: str, text: str) -> None:
    async with client(tmp_path) as (http, _):
        files = form(speech())
        answer = await http.post("/transcribe/audio", files=files, data={"format": name})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == media_type
        assert text in answer.text
        assert "Good morning." in answer.text


async def test_the_cache_knows_content_and_options_and_not_the_form(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):

        async def ask(audio: Audio, **data: str) -> str:
            response = await http.post("/transcribe/audio", files=form(audio), data=data)
            assert response.status_code == 200
            return str(response.headers["x-surtitle-cache"])

        assert await ask(speech()) == "miss"
        jobs = len(fakes.recognizer.jobs)
        assert await ask(speech()) == "hit"
        assert await ask(speech(), format="srt") == "hit"
        assert len(fakes.recognizer.jobs) == jobs
        assert await ask(speech(), language="en") == "miss"
        assert await ask(speech(), language="en-US") == "hit"
        assert await ask(speech(), target="pt") == "miss"
        assert await ask(speech()[:-1600]) == "miss"


async def test_silence(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        data = {"target": "pt"}
        body = (await http.post("/transcribe/audio", files=form(silence(2.0)), data=data)).json()
        assert (body["text"], body["language"], body["segments"]) == ("", None, [])
        assert body["translation"] == {"target": "pt", "text": "", "engine": "", "segments": []}


async def test_speech_that_only_the_recogniser_translates(tmp_path: Path) -> None:
    fakes = Fakes(recognizer=FakeRecognizer(detected="de"))
    async with client(tmp_path, fakes) as (http, _):
        data = {"target": "en"}
        body = (await http.post("/transcribe/audio", files=form(speech()), data=data)).json()
        assert body["language"] == "de"
        assert body["translation"]["text"] == "GOOD MORNING. HOW ARE YOU? GOODBYE."
        data = {"target": "pt"}
        body = (await http.post("/transcribe/audio", files=form(speech()), data=data)).json()
        assert body["translation"]["text"].startswith("[pt] GOOD MORNING. [pt] HOW ARE YOU?")


@pytest.mark.parametrize(
    ("files", "data", "status", "code"),
    [
        ({"file": ("a.wav", b"no sound at all")}, {}, 400, "invalid_audio"),
        ({"file": ("a.wav", b"")}, {}, 400, "empty_audio"),
        ({"other": ("a.wav", b"x" * 100)}, {}, 400, "invalid_request"),
        (form(silence(0.1)), {"format": "docx"}, 400, "invalid_request"),
        (form(silence(0.1)), {"language": "klingonish"}, 400, "unknown_language"),
        (form(silence(0.1)), {"target": "klingonish"}, 400, "unknown_language"),
        (form(silence(0.1)), {"language": "en", "target": "de"}, 400, "pair_unsupported"),
        (form(silence(0.1)), {"note": "x" * 20_000}, 400, "invalid_request"),
        (
            form(silence(0.1)),
            {f"field{number}": "" for number in range(40)},
            400,
            "invalid_request",
        ),
        (form(silence(4.0)), {}, 413, "audio_too_long"),
        ({"file": ("a.wav", b"x" * 300_000)}, {}, 413, "payload_too_large"),
    ],
)
async def test_what_is_wrong_is_said(
    tmp_path: Path, files: Any, data: dict[str, str], status: int, code: str
) -> None:
    async with client(tmp_path, max_upload_bytes=200_000, max_audio_seconds=3.0) as (http, _):
        response = await http.post("/transcribe/audio", files=files, data=data)
        assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b\r\n",
        b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nabc",
        b"--b\r\nContent-Disposition: form-data; name=language\r\n\r\n\xff\xfe\r\n--b--\r\n",
        b"--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--\r\n",
        b"--b\r\nnonsense\r\n\r\nx\r\n--b--\r\n",
        b"\x00" * 1000,
    ],
)
async def test_broken_forms(tmp_path: Path, body: bytes) -> None:
    async with client(tmp_path) as (http, _):
        response = await http.post(
            "/transcribe/audio",
            content=body,
            headers={"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert (response.status_code, response.json()["code"]) == (400, "invalid_request")


async def test_an_upload_that_does_not_say_its_length_is_bounded_too(tmp_path: Path) -> None:
    async def long() -> AsyncIterator[bytes]:
        yield b"--b\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\n"
        for _ in range(100):
            yield b"x" * 65_536

    async with (
        running(tmp_path, max_upload_bytes=1_000_000) as (address, _, _),
        httpx.AsyncClient() as http,
    ):
        response = await http.post(
            f"http://{address}/transcribe/audio",
            content=long(),
            headers=admin() | {"Content-Type": "multipart/form-data; boundary=b"},
        )
        assert (response.status_code, response.json()["code"]) == (413, "payload_too_large")


async def test_hours_of_audio_in_a_tiny_file_are_refused_while_it_is_decoded(
    tmp_path: Path,
) -> None:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=8000)
        stream.layout = "mono"
        second = np.zeros((1, 8000 * 60), np.int16)
        for minute in range(120):
            frame = av.AudioFrame.from_ndarray(second, format="s16", layout="mono")
            frame.sample_rate = 8000
            frame.pts = minute * 8000 * 60
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    bomb = buffer.getvalue()
    assert len(bomb) < 1_500_000
    async with client(tmp_path, max_audio_seconds=60.0) as (http, fakes):
        response = await http.post("/transcribe/audio", files={"file": ("a.flac", bomb)})
        assert (response.status_code, response.json()["code"]) == (413, "audio_too_long")
        assert not fakes.recognizer.jobs


async def test_the_same_file_twice_at_once_is_recognised_once_and_counts_twice(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as (address, fakes, _):
        headers = {"Authorization": f"Bearer {fakes.key}"}
        async with httpx.AsyncClient(base_url=f"http://{address}", headers=headers) as http:
            fakes.recognizer.gate.shut()
            twice = [
                asyncio.create_task(http.post("/transcribe/audio", files=form(speech())))
                for _ in range(2)
            ]
            await fakes.recognizer.gate.arrived(1)
            while fakes.services.transcripts.stats.joined < 1:  # noqa: ASYNC110 - a counter is no event
                await asyncio.sleep(0)
            fakes.recognizer.gate.open()
            answers = [(await one).json() for one in twice]
            assert answers[0] == answers[1]
            used = (await http.get("/v1/usage")).json()["today"]
        assert not answers[0]["cached"]
        assert used["audio_seconds"] == pytest.approx(2 * answers[0]["duration"], abs=0.01)
        heard = [(job.segment, job.language) for job in fakes.recognizer.jobs]
        assert len(heard) == len(set(heard))


async def test_another_model_or_translator_meets_no_old_answer(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):

        async def cached(**data: str) -> bool:
            answer = await http.post("/transcribe/audio", files=form(speech()), data=data)
            return bool(answer.json()["cached"])

        assert [await cached(), await cached(), await cached(target="pt")] == [False, True, False]
        fakes.translator.version = "fake-2"
        assert await cached()  # nothing of it is translated
        assert not await cached(target="pt")
        fakes.services.speech_version = "2"
        assert not await cached()


async def test_what_texts_cannot_be_translated_for_is_translated_from_the_sound(
    tmp_path: Path,
) -> None:
    async with client(tmp_path) as (http, fakes):
        data = {"language": "pt", "target": "en"}
        for _ in range(2):  # what stood in is not kept
            fakes.translator.fail_next(*[TranslationFailed("down")] * 9)
            answer = await http.post("/transcribe/audio", files=form(speech()), data=data)
            body = answer.json()
            assert not body["cached"]
            assert body["translation"]["engine"] == "whisper"
            assert body["translation"]["text"] == body["text"].upper()
            fakes.translator._errors.clear()
        body = (await http.post("/transcribe/audio", files=form(speech()), data=data)).json()
        assert (body["cached"], body["translation"]["engine"]) == (False, "fake")
        body = (await http.post("/transcribe/audio", files=form(speech()), data=data)).json()
        assert body["cached"]


async def test_what_nothing_can_translate_is_an_error(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):
        fakes.translator.fail_next(*[TranslationFailed("down")] * 9)
        data = {"language": "en", "target": "pt"}
        answer = await http.post("/transcribe/audio", files=form(speech()), data=data)
        assert (answer.status_code, answer.json()["code"]) == (503, "translation_failed")
