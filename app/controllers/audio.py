"""Transcription of audio files."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, cast, get_args

from litestar import Request, Response, post
from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    RequestBody,
    Schema,
)
from msgspec import UNSET, Struct, UnsetType

from app.cache import Key
from app.controllers.documentation import LIMITED, SECURITY, answered_as, problems
from app.controllers.system import VERSION
from app.sentences import Segment
from app.services import Services, services_of, serving
from app.subtitles import render
from app.transcription import Transcript
from app.upload import Form, InvalidForm, receive_form
from guards.admission import limited
from guards.auth import may_transcribe
from guards.principal import Principal
from guards.tiers import Endpoint
from guards.usage import Amount
from inference.audio import decode_file
from streaming.types import SAMPLE_RATE

Format = Literal["json", "verbose_json", "text", "srt", "vtt"]

_FORMATS: Final = get_args(Format)
# The framework adds the charset to types of text.
_MEDIA_TYPES: Final = {
    "text": "text/plain",
    "srt": "application/x-subrip; charset=utf-8",
    "vtt": "text/vtt",
}


class WordInfo(Struct):
    """Times are in seconds."""

    text: str
    start: float
    end: float
    probability: float


class SegmentInfo(Struct):
    """About a sentence. The last two fields come with ``verbose_json`` only."""

    id: int
    start: float
    end: float
    text: str
    confidence: float | UnsetType = UNSET
    words: list[WordInfo] | UnsetType = UNSET


class TranslationInfo(Struct):
    """``engine`` is what made it."""

    target: str
    text: str
    engine: str
    segments: list[SegmentInfo]


class TranscriptInfo(Struct):
    """``language`` is null when nothing was said and no language was given."""

    text: str
    language: str | None
    duration: float
    segments: list[SegmentInfo]
    cached: bool
    translation: TranslationInfo | UnsetType = UNSET


@dataclass
class _UploadOperation(Operation):
    """Documents the form, which the handler reads by itself, as it arrives, and the answers."""

    def __post_init__(self) -> None:
        answered_as(self, "text/plain", "application/x-subrip", "text/vtt")
        text = partial(Schema, type=OpenAPIType.STRING)
        self.request_body = RequestBody(
            required=True,
            content={
                "multipart/form-data": OpenAPIMediaType(
                    schema=Schema(
                        type=OpenAPIType.OBJECT,
                        required=["file"],
                        properties={
                            "file": text(
                                format="binary",  # type: ignore[arg-type]  # OpenAPI's own word
                                description="Sound in any common format, known by content.",
                            ),
                            "language": text(
                                description="What is spoken; `auto` or nothing to detect it.",
                                examples=["pt", "auto"],
                            ),
                            "target": text(
                                description="Language to translate into. Text and subtitles are "
                                "then the translation; JSON has both.",
                                examples=["en"],
                            ),
                            "format": text(
                                enum=list(_FORMATS), default="json", description="Of the answer."
                            ),
                        },
                    )
                )
            },
        )


_EXAMPLE: Final = {
    "text": "Good morning.",
    "language": "en",
    "duration": 1.92,
    "segments": [{"id": 0, "start": 0.31, "end": 1.4, "text": "Good morning."}],
    "cached": False,
    "translation": {
        "target": "pt",
        "text": "Bom dia.",
        "engine": "bergamot",
        "segments": [{"id": 0, "start": 0.31, "end": 1.4, "text": "Bom dia."}],
    },
}


@post(
    "/transcribe/audio",
    status_code=200,
    guards=[may_transcribe, serving, limited(Endpoint.SPEECH)],
    summary="Transcribe an audio file, and translate it",
    description="The answer's form is chosen by `format`: JSON, plain text, or subtitles.",
    tags=["speech"],
    security=SECURITY,
    operation_id="transcribeAudio",
    operation_class=_UploadOperation,
    # The form's reader has bounds of its own, for the file and for the rest.
    request_max_body_size=None,
    response_headers=[
        *LIMITED,
        ResponseHeader(name="X-Surtitle-Cache", description="hit or miss", documentation_only=True),
    ],
    responses={
        200: ResponseSpec(
            TranscriptInfo,
            generate_examples=False,
            description="The transcript.",
            examples=[Example(value=_EXAMPLE)],
        ),
        **problems(400, 401, 403, 408, 413, 415, 429, 503),
    },
)
async def transcribe_audio(request: Request[Principal, Any, Any]) -> Response[Any]:
    services = services_of(request)
    async with receive_form(request, max_bytes=services.settings.max_upload_bytes) as form:
        wanted = _format(form)
        transcript, cached = await _transcript(services, form, request.user)
    return _respond(transcript, wanted, cached=cached)


def _format(form: Form) -> Format:
    name = form.fields.get("format", "json")
    for known in _FORMATS:
        if name == known:
            return cast("Format", known)
    raise InvalidForm(
        f"`format` is one of {', '.join(_FORMATS)}.",
        errors=[{"path": "format", "in": "body", "message": "unknown format"}],
    )


async def _transcript(
    services: Services, form: Form, principal: Principal
) -> tuple[Transcript, bool]:
    spoken = form.fields.get("language", "").strip()
    wanted = form.fields.get("target", "").strip()
    language = None if spoken.lower() in ("", "auto") else services.languages.spoken(spoken)
    target = services.languages.target(wanted) if wanted else None
    key = _key(services, form.sha256, language, target)
    limits = services.limiter.limits(principal)
    known = await services.transcripts.get(key)
    if known is not None:
        async with services.metering.request(principal, limits, _amount(known.duration)):
            await _meter_translation(services, principal, known)
            return known, True
    transcriber = services.transcriber
    if language is not None and target is not None:
        transcriber.require_route(language, target)
    async with transcriber.slot():
        decoded = await asyncio.to_thread(
            decode_file, form.file, max_seconds=services.settings.max_audio_seconds
        )
        seconds = len(decoded.audio) / SAMPLE_RATE
        # Each request is metered for itself, before the work, whoever then does it.
        async with services.metering.request(principal, limits, _amount(seconds)):
            transcript, cached = await services.transcripts.fetch(
                key,
                lambda: transcriber.transcribe(
                    decoded.audio, language=language, target=target, tenant=principal.user_id
                ),
                worth_keeping=_usual,
            )
            await _meter_translation(services, principal, transcript)
    return transcript, cached


def _usual(transcript: Transcript) -> bool:
    """Whether it is what will be made again once everything works."""
    return transcript.translation is None or not transcript.translation.stand_in


def _key(services: Services, sha256: str, language: str | None, target: str | None) -> Key:
    versions = (VERSION, services.recognizer.model, services.speech_version)
    translator = services.translator.version if target else ""
    return (*versions, translator, sha256, language or "", target or "")


async def _meter_translation(
    services: Services, principal: Principal, transcript: Transcript
) -> None:
    """Book the characters that were translated: how many, only the transcript tells."""
    if transcript.translation is not None and transcript.text:
        amount = Amount(characters=len(transcript.text))
        charge = services.metering.charge(principal, amount)
        await services.metering.book(charge, running=True)


def _amount(seconds: float) -> Amount:
    return Amount(audio_ms=math.ceil(seconds * 1000))


def _respond(transcript: Transcript, form: Format, *, cached: bool) -> Response[Any]:
    headers = {"X-Surtitle-Cache": "hit" if cached else "miss"}
    shown = transcript.translation or transcript
    if form == "text":
        return Response(shown.text, media_type=_MEDIA_TYPES[form], headers=headers)
    if form in ("srt", "vtt"):
        subtitles = render(shown.segments, form)
        return Response(subtitles, media_type=_MEDIA_TYPES[form], headers=headers)
    return Response(
        body_of(transcript, cached=cached, verbose=form == "verbose_json"), headers=headers
    )


def body_of(transcript: Transcript, *, cached: bool, verbose: bool) -> TranscriptInfo:
    """A transcript in the shape of the JSON formats."""
    info = TranscriptInfo(
        text=transcript.text,
        language=transcript.language,
        duration=transcript.duration,
        segments=_segments(transcript.segments, verbose=verbose),
        cached=cached,
    )
    if transcript.translation is not None:
        info.translation = TranslationInfo(
            target=transcript.translation.target,
            text=transcript.translation.text,
            engine=transcript.translation.engine,
            segments=_segments(transcript.translation.segments, verbose=verbose),
        )
    return info


def _segments(segments: tuple[Segment, ...], *, verbose: bool) -> list[SegmentInfo]:
    infos = []
    for number, segment in enumerate(segments):
        info = SegmentInfo(number, round(segment.start, 3), round(segment.end, 3), segment.text)
        if verbose:
            info.confidence = round(segment.confidence, 3)
            info.words = [
                WordInfo(
                    word.text.strip(),
                    round(word.start, 3),
                    round(word.end, 3),
                    round(word.probability, 3),
                )
                for word in segment.words
            ]
        infos.append(info)
    return infos
