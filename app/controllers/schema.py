"""The native protocol's schemas, beside OpenAPI."""

from __future__ import annotations

from typing import Any

from litestar import get

from app import asyncapi
from app.controllers.system import VERSION
from streaming.wire import schema


@get("/schema/protocol.json", include_in_schema=False, sync_to_thread=False)
def protocol_schema() -> dict[str, Any]:
    """JSON Schema of every message of ``/v1/stream``, by direction."""
    return schema()


@get("/schema/asyncapi.json", include_in_schema=False, sync_to_thread=False)
def asyncapi_document() -> dict[str, Any]:
    """The same as an AsyncAPI 3 document."""
    return asyncapi.document(VERSION)
