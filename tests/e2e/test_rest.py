"""One-shot calls, refusals and the command line against the real server."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import pysubs2
import pytest
import soundfile
import websockets

from bench.corpus import Clip, error_rate
from streaming.types import SAMPLE_RATE
from tests.e2e.client import assert_well_formed, stream
from tests.e2e.server import Server
from tests.encoding import encode
from tests.speech import audioeval_clips

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

CODECS = {
    "wav": "pcm_s16le",
    "flac": "flac",
    "mp3": "libmp3lame",
    "ogg": "libopus",
    "webm": "libopus",
    "mp4": "aac",
}


def fox() -> Clip:
    return next(clip for clip in audioeval_clips("en") if "fox" in clip.id)


def transcribe(server: Server, data: bytes, **fields: str) -> httpx.Response:
    return httpx.post(
        f"{server.url}/transcribe/audio",
        headers=server.headers,
        files={"file": ("talk.bin", data)},
        data=fields,
        timeout=60,
    )


@pytest.mark.parametrize("container", sorted(CODECS))
def test_files_of_every_kind_are_transcribed(server: Server, container: str) -> None:
    clip = fox()
    answer = transcribe(server, encode(clip.audio(), container, CODECS[container]), language="en")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert error_rate([clip.text or ""], [found["text"]], "en") <= 20
    assert found["language"] == "en"
    assert found["duration"] == pytest.approx(len(clip.audio()) / SAMPLE_RATE, abs=0.2)
    assert found["segments"]


def test_transcripts_come_in_every_form(server: Server) -> None:
    data = encode(fox().audio(), "wav", CODECS["wav"])
    text = transcribe(server, data, format="text").text
    assert "fox" in text.lower()
    for form in ("srt", "vtt"):
        subtitles = pysubs2.SSAFile.from_string(transcribe(server, data, format=form).text)
        assert "fox" in " ".join(line.text for line in subtitles).lower()
    verbose = transcribe(server, data, format="verbose_json", target="pt").json()
    assert verbose["translation"]["target"] == "pt"
    assert "raposa" in verbose["translation"]["text"].lower()


def not_audio() -> dict[str, bytes]:
    whole = encode(fox().audio(), "flac", CODECS["flac"])
    silent = io.BytesIO()
    soundfile.write(silent, np.zeros(0, dtype=np.float32), SAMPLE_RATE, format="WAV")
    return {
        "empty": b"",
        "garbage": bytes(np.random.default_rng(0).integers(0, 256, 50_000, dtype=np.uint8)),
        "truncated header": whole[:20],
        "text": b"This is no audio at all. " * 100,
        "picture": b"\x89PNG\r\n\x1a\n" + b"\0" * 500,
        "no seconds": silent.getvalue(),
    }


@pytest.mark.parametrize("kind", sorted(not_audio()))
def test_what_is_no_audio_is_refused_with_a_reason(server: Server, kind: str) -> None:
    answer = transcribe(server, not_audio()[kind])
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["code"] in {"invalid_audio", "empty_audio", "unsupported_media"}
    assert problem["detail"]


def test_texts_are_translated_and_remembered(server: Server) -> None:
    def translate(**body: object) -> httpx.Response:
        return httpx.post(
            f"{server.url}/translate/text", headers=server.headers, json=body, timeout=60
        )

    first = translate(text="Good morning, my friends.", source="auto", target="pt").json()
    assert "bom dia" in first["translation"].lower()
    assert (first["source"], first["target"], first["cached"]) == ("en", "pt", False)
    assert translate(text="Good morning, my friends.", source="en", target="pt").json()["cached"]
    both = translate(text=["Good night.", ""], source="en", target="pt").json()["translation"]
    assert "boa noite" in both[0].lower()
    assert both[1] == ""
    assert translate(text="x", source="en", target="zz").status_code == 400
    assert translate(text=7, source="en", target="pt").status_code == 400


def test_languages_say_how_each_pair_is_served(server: Server) -> None:
    listing = httpx.get(f"{server.url}/languages", headers=server.headers).json()
    by_code = {language["code"]: language for language in listing}
    kinds = {route["target"]: route["kind"] for route in by_code["en"]["routes"]}
    assert kinds["pt"] == "direct"
    kinds = {route["target"]: route["kind"] for route in by_code["de"]["routes"]}
    assert (kinds["en"], kinds["pt"]) == ("whisper", "whisper+pivot")


def test_without_a_key_nothing_is_done(server: Server) -> None:
    for method, path in (("POST", "/translate/text"), ("POST", "/transcribe/audio")):
        answer = httpx.request(method, server.url + path)
        assert answer.status_code == 401
        assert answer.json()["code"] == "authentication_required"
    assert httpx.get(f"{server.url}/health/simple").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer sk_surtitle_wrong"}])
async def test_a_refused_handshake_is_a_real_401(server: Server, headers: dict[str, str]) -> None:
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(server.stream_url, additional_headers=headers)
    response = refused.value.response
    assert response.status_code == 401
    assert response.headers["Content-Type"].startswith("application/problem+json")
    assert response.headers["WWW-Authenticate"]
    assert b'"code"' in (response.body or b"")


@pytest.mark.parametrize("container", ["webm", "ogg"])
async def test_a_browsers_recording_is_captioned_as_it_comes(
    server: Server, container: str
) -> None:
    audio = np.concatenate([fox().audio(), np.zeros(SAMPLE_RATE, dtype=np.float32)] * 2)
    data = encode(audio, container, CODECS[container], live=True)
    session = await stream(server, data, frame=700, encoding=container, source="en", targets=["pt"])
    assert_well_formed(session)
    said = f"{fox().text} {fox().text}"
    assert error_rate([said], [session.text], "en") <= 20
    assert len(session.translated("pt")) == len(session.finals)
    assert session.of("done")[0]["audio_seconds"] == pytest.approx(
        len(audio) / SAMPLE_RATE, abs=0.1
    )


async def test_a_ticket_opens_one_stream(server: Server) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{server.url}/v1/tickets", headers=server.headers)
    assert answer.status_code == 201
    address = f"{server.stream_url}?ticket={answer.json()['ticket']}"
    async with websockets.connect(address) as socket:
        await socket.send('{"type": "start"}')
        assert "ready" in str(await socket.recv())
    with pytest.raises(websockets.InvalidStatus):
        await websockets.connect(address)


def surtitle(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("surtitle")), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_line_captions_a_file(server: Server, tmp_path: Path) -> None:
    talk = tmp_path / "talk.flac"
    talk.write_bytes(encode(fox().audio(), "flac", CODECS["flac"]))
    address = server.stream_url.removesuffix("/v1/stream")
    done = surtitle("stream", str(talk), "--to", "pt", "--server", address, SURTITLE_KEY=server.key)
    assert done.returncode == 0, done.stderr
    assert "fox" in done.stdout.lower()
    assert "raposa" in done.stdout.lower()
    refused = surtitle("stream", str(talk), "--server", address, SURTITLE_KEY="wrong")
    assert refused.returncode != 0
    assert refused.stderr.strip()
