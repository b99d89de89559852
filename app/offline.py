"""A file transcribed in this process, without a server around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec

from app.controllers.audio import body_of
from app.models import build_models
from app.settings import Settings
from app.subtitles import render
from app.transcription import Transcriber, Transcript
from inference.audio import decode_file


async def transcribe_file(
    settings: Settings,
    file: Path,
    *,
    language: str | None,
    target: str | None,
    form: str,
    progress: Callable[[str], None],
) -> str:
    """A file's text in a form: ``txt``, ``srt``, ``vtt`` or ``json``.

    Raises ``SurtitleError`` for what is wrong with the file or the languages.
    """
    decoded = await asyncio.to_thread(decode_file, file, max_seconds=settings.max_audio_seconds)
    models = await build_models(settings, progress)
    try:
        transcriber = Transcriber(
            recognizer=models.recognizer,
            detector=models.detector,
            translator=models.translator,
            languages=models.languages,
        )
        transcript = await transcriber.transcribe(
            decoded.audio,
            language=None if language is None else models.languages.spoken(language),
            target=None if target is None else models.languages.target(target),
        )
    finally:
        await models.close()
    return _render(transcript, form)


def _render(transcript: Transcript, form: str) -> str:
    shown = transcript.translation or transcript
    if form == "json":
        body = msgspec.json.encode(body_of(transcript, cached=False, verbose=True))
        return msgspec.json.format(body, indent=2).decode()
    if form in ("srt", "vtt"):
        return render(shown.segments, "srt" if form == "srt" else "vtt")
    return "\n".join(segment.text for segment in shown.segments)
