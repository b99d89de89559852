"""What the OpenAPI document says of several handlers."""

from __future__ import annotations

from typing import Annotated, Any, Final

from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import (
    Example,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Schema,
)
from msgspec import Meta, Struct

SECURITY: Final[list[dict[str, list[str]]]] = [{"bearer": []}, {"header": []}]
"""Either of the two ways to give a key."""

LIMITED: Final = (
    ResponseHeader(
        name="RateLimit",
        description="What is left, by window, and in how many seconds there is more: "
        '`"minute";r=9;t=43, …`',
        documentation_only=True,
    ),
    ResponseHeader(
        name="RateLimit-Policy",
        description='The windows a request counts in: `"minute";q=10;w=60, …`',
        documentation_only=True,
    ),
)
"""The headers of a response that counts against limits."""

_DESCRIPTIONS: Final = {
    400: "The request is wrong, or asks for what no model here can do.",
    401: "No credential, or one that is not valid.",
    403: "The credential does not allow this.",
    404: "There is no such thing.",
    408: "The upload stood still.",
    409: "This can't be done to it.",
    413: "Too large, or too long.",
    415: "Not a form, or not sound.",
    429: "Too many; see Retry-After.",
    503: "Not ready, overloaded, or shutting down; see Retry-After.",
}


class ProblemDetails(Struct, rename={"kind": "type"}):
    """RFC 9457. Programs branch on ``code``; some codes bring further members."""

    kind: Annotated[str, Meta(examples=["urn:surtitle:problem:pair_unsupported"])]
    title: Annotated[str, Meta(examples=["Pair unsupported"])]
    status: Annotated[int, Meta(examples=[400])]
    detail: Annotated[str, Meta(examples=["Nothing here translates text from de to ja."])]
    code: Annotated[str, Meta(examples=["pair_unsupported"])]
    retryable: bool
    request_id: str
    retry_after: float | None = None
    errors: list[dict[str, Any]] | None = None


def answered(
    model: Any, description: str, example: Any, status: int = 200
) -> dict[int, ResponseSpec]:
    """Documents the right answer of a handler."""
    spec = ResponseSpec(
        model, generate_examples=False, description=description, examples=[Example(value=example)]
    )
    return {status: spec}


def answered_as(operation: Operation, *media_types: str) -> None:
    """Documents that the right answer may also be text of these types."""
    response = (operation.responses or {})["200"]
    if isinstance(response, OpenAPIResponse) and response.content is not None:
        for media_type in media_types:
            response.content[media_type] = OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING))


def problems(*statuses: int) -> dict[int, ResponseSpec]:
    """Documents these errors of a handler."""
    return {
        status: ResponseSpec(
            ProblemDetails,
            generate_examples=False,
            media_type="application/problem+json",
            description=_DESCRIPTIONS[status],
        )
        for status in statuses
    }
