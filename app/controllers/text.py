"""Translation of texts."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final

from litestar import Request, post
from litestar.openapi.spec import Example
from litestar.params import Body
from msgspec import Meta, Struct

from app.cache import Key
from app.concurrency import map_bounded
from app.controllers.documentation import LIMITED, SECURITY, problems
from app.services import Services, services_of, serving
from guards.admission import limited
from guards.auth import may_translate
from guards.principal import Principal
from guards.tiers import Endpoint
from guards.usage import Amount
from inference.identification import UNDETERMINED
from streaming.errors import PairUnsupported, SurtitleError, UnknownLanguage
from streaming.text import clean
from streaming.types import Priority, Route, Translation, TranslationJob

_AT_ONCE: Final = 8
_MAX_TEXTS: Final = 1000

Tag = Annotated[str, Meta(min_length=1, max_length=64)]


class TextTooLong(SurtitleError):
    """More characters than one request may hold."""

    code = "text_too_long"
    status = 413


class TranslateRequest(Struct):
    """A text or a list of texts. ``source`` may be ``auto``.

    Control characters are left out, and characters composed (NFC); HTML is text like any other.
    """

    text: str | Annotated[list[str], Meta(max_length=_MAX_TEXTS)]
    target: Tag
    source: Tag = "auto"


class TranslateResponse(Struct):
    """``translation`` has the form of the request's ``text``. ``source`` is what was detected,
    for a list in all of its texts together; it is null when there was no text to tell it by.
    ``cached`` is true when all that needed translating came from the cache.
    """

    translation: str | list[str]
    source: str | None
    target: str
    engine: str
    cached: bool


@post(
    "/translate/text",
    status_code=200,
    guards=[may_translate, serving, limited(Endpoint.TEXT)],
    summary="Translate a text, or a list of texts",
    tags=["text"],
    security=SECURITY,
    response_headers=LIMITED,
    responses=problems(400, 401, 403, 413, 429, 503),
    operation_id="translateText",
)
async def translate_text(
    request: Request[Principal, Any, Any],
    data: Annotated[
        TranslateRequest,
        Body(
            examples=[
                Example(
                    summary="One text",
                    value={"text": "Good morning.", "source": "en", "target": "pt"},
                ),
                Example(
                    summary="A list, its language to be detected",
                    value={"text": ["Bom dia.", "Até logo."], "source": "auto", "target": "en"},
                ),
            ]
        ),
    ],
) -> TranslateResponse:
    services = services_of(request)
    single = isinstance(data.text, str)
    texts = [clean(text) for text in ([data.text] if isinstance(data.text, str) else data.text)]
    limit = services.settings.max_text_chars
    if sum(map(len, texts)) > limit:
        raise TextTooLong(f"One request may hold {limit} characters.", max_chars=limit)
    target = services.languages.target(data.target)
    source = await _source(services, data.source, texts)
    if source is None:
        return TranslateResponse("" if single else texts, None, target, "", cached=False)
    route = _route(services, source, target)
    limits = services.limiter.limits(request.user)
    amount = Amount(characters=sum(map(len, texts)))
    async with services.metering.request(request.user, limits, amount):
        results = await _translate(services, texts, route, request.user)
    cached = [cached for _, cached in results]
    return TranslateResponse(
        translation=results[0][0].text if single else [found.text for found, _ in results],
        source=source,
        target=target,
        engine=next((found.engine for found, _ in results if found.engine), route.engine),
        cached=True in cached and False not in cached,
    )


async def _source(services: Services, tag: str, texts: list[str]) -> str | None:
    """The source language's code; None when it is to be detected and there is nothing to read."""
    if tag.lower() != "auto":
        # The catalogue knows text languages as targets: what can be written can be read.
        return services.languages.target(tag)
    whole = "\n".join(texts)
    if not whole.strip():
        return None
    found, _ = await services.identify(whole)
    if found == UNDETERMINED:
        raise UnknownLanguage("The text's language could not be told; please name it.")
    return found


def _route(services: Services, source: str, target: str) -> Route:
    route = services.languages.text_route(source, target)
    if route is None:
        possible = sorted(
            known.target
            for language in services.languages.listing()
            if language.code == source
            for known in language.routes
            if services.languages.text_route(source, known.target)
        )
        raise PairUnsupported(
            f"Nothing here translates text from {source} to {target}.",
            source=source,
            target=target,
            possible=possible,
        )
    return route


async def _translate(
    services: Services, texts: list[str], route: Route, principal: Principal
) -> list[tuple[Translation, bool | None]]:
    """Translations in order, and whether each came from the cache; None where none was needed."""
    session = f"text_{secrets.token_hex(8)}"
    version = services.translator.version

    def key(text: str) -> Key:
        return version, route.source, route.target, text

    async def one(numbered: tuple[int, str]) -> tuple[Translation, bool | None]:
        number, text = numbered
        job = TranslationJob(
            session=session,
            segment=number,
            revision=0,
            text=text,
            source=route.source,
            target=route.target,
            # Somebody waits for the answer, as for a partial: after the finals of live
            # speech, before recordings. Each text has a segment of its own, so that none
            # supersedes another.
            priority=Priority.PARTIAL,
            tenant=principal.user_id,
        )
        return await services.translations.fetch(
            key(text),
            lambda: services.translator.translate(job),
            # What stood in for another engine shall not outlast its outage.
            worth_keeping=lambda made: not made.outage,
        )

    found: dict[int, tuple[Translation, bool | None]] = {}
    for number, text in enumerate(texts):
        if not text.strip() or route.kind == "identity":
            found[number] = Translation(text, route.engine), None
        elif known := services.translations.peek(key(text)):
            found[number] = known, True
    missing = [(number, text) for number, text in enumerate(texts) if number not in found]
    if missing:
        made = await map_bounded(one, missing, limit=_AT_ONCE)
        found |= {number: result for (number, _), result in zip(missing, made, strict=True)}
    return [found[number] for number in range(len(texts))]
