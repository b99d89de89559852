"""What the server is, and what it can do. No credential is needed."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from litestar import MediaType, Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from msgspec import Struct

from app import pages
from app.services import services_of
from streaming.types import RouteKind
from streaming.wire import PROTOCOL_VERSION

VERSION: Final = version("surtitle")


class Information(Struct):
    """What this server is, and where things are."""

    name: str
    version: str
    protocol: int
    stream: str
    schema: str
    health: str
    model: str


class RouteInfo(Struct):
    """How one target is reached."""

    target: str
    kind: RouteKind
    engine: str


class LanguageInfo(Struct):
    """One language: whether it can be spoken, and what it can be translated into."""

    code: str
    name: str
    targets: list[str]
    speech: bool
    routes: list[RouteInfo]


@get(
    "/",
    summary="Service information, or the demo page",
    description="JSON; a browser (`Accept: text/html`) is given the demo page.",
    tags=["system"],
    media_type=MediaType.JSON,
    operation_id="information",
    responses={200: ResponseSpec(Information, generate_examples=False, description="About.")},
)
async def root(request: Request[Any, Any, Any]) -> Response[Any]:
    if request.accept.best_match(["application/json", "text/html"]) == "text/html":
        return await _page(request, "index.html", {"Vary": "Accept"})
    information = Information(
        name="Surtitle",
        version=VERSION,
        protocol=PROTOCOL_VERSION,
        stream="/v1/stream",
        schema="/schema",
        health="/health",
        model=services_of(request).recognizer.model,
    )
    return Response(information, headers={"Vary": "Accept"})


@get("/demo/{name:path}", include_in_schema=False)
async def demo_file(request: Request[Any, Any, Any], name: FromPath[Path]) -> Response[bytes]:
    return await _page(request, name.as_posix().lstrip("/"), {})


async def _page(
    request: Request[Any, Any, Any], name: str, headers: dict[str, str]
) -> Response[bytes]:
    page = await asyncio.to_thread(pages.read, name)
    if page is None:
        raise NotFoundException("There is no such page.")
    headers = {**headers, "ETag": page.etag, "Cache-Control": "no-cache"}
    known = {
        tag.strip().removeprefix("W/")
        for tag in request.headers.get("if-none-match", "").split(",")
    }
    if page.etag in known:
        return Response(b"", status_code=304, headers=headers, media_type=page.media_type)
    return Response(page.content, headers=headers, media_type=page.media_type)


@get(
    "/languages",
    summary="Languages, and how each pair is served",
    description="The shape of LibreTranslate's `/languages`, with more fields.",
    tags=["system"],
    operation_id="languages",
)
async def languages(request: Request[Any, Any, Any]) -> list[LanguageInfo]:
    return [
        LanguageInfo(
            code=language.code,
            name=language.name,
            targets=[route.target for route in language.routes],
            speech=language.speech,
            routes=[RouteInfo(route.target, route.kind, route.engine) for route in language.routes],
        )
        for language in services_of(request).languages.listing()
    ]
