"""The native protocol as an AsyncAPI 3 document, made from its JSON Schema."""

from __future__ import annotations

from typing import Any, Final

from guards.credentials import BEARER_SUBPROTOCOL, SUBPROTOCOL
from streaming.wire import PROTOCOL_VERSION, schema

_DEFS: Final = "#/$defs/"
_SCHEMAS: Final = "#/components/schemas/"


def document(version: str) -> dict[str, Any]:
    """The document. ``version`` is the server's."""
    protocol = _relocated(schema())
    messages: dict[str, Any] = {}
    directions: dict[str, list[str]] = {}
    for direction, union in protocol["properties"].items():
        directions[direction] = []
        for reference in union["anyOf"]:
            name = reference["$ref"].removeprefix(_SCHEMAS)
            definition = protocol["$defs"][name]
            directions[direction].append(name)
            messages[name] = {
                "name": definition["properties"]["type"]["enum"][0],
                "summary": definition.get("description", name),
                "contentType": "application/json",
                "payload": reference,
            }
    messages["Audio"] = {
        "name": "audio",
        "summary": "Sound, in the encoding that `start` named. Binary frames.",
        "contentType": "application/octet-stream",
        "payload": {"type": "string", "format": "binary"},
    }
    directions["client"].append("Audio")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Surtitle native protocol",
            "version": version,
            "description": f"Protocol version {PROTOCOL_VERSION}. Text frames are JSON with a "
            "`type`, binary frames are audio.",
        },
        "defaultContentType": "application/json",
        "channels": {
            "stream": {
                "address": "/v1/stream",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
                "bindings": {
                    "ws": {
                        "query": {
                            "type": "object",
                            "properties": {
                                "ticket": {
                                    "type": "string",
                                    "description": "A one-use ticket from POST /v1/tickets.",
                                }
                            },
                        },
                        "headers": {
                            "type": "object",
                            "properties": {
                                "Authorization": {
                                    "type": "string",
                                    "description": "Bearer and an API key or token.",
                                },
                                "Sec-WebSocket-Protocol": {
                                    "type": "string",
                                    "description": f"`{SUBPROTOCOL}`, and, from clients that can "
                                    f"send no other header, `{BEARER_SUBPROTOCOL}` followed by a "
                                    "key or token.",
                                },
                            },
                        },
                    }
                },
            }
        },
        "operations": {
            # Seen from the server: it receives what clients send.
            "receive": _operation("receive", directions["client"]),
            "send": _operation("send", directions["server"]),
        },
        "components": {"messages": messages, "schemas": protocol["$defs"]},
    }


def _operation(action: str, names: list[str]) -> dict[str, Any]:
    return {
        "action": action,
        "channel": {"$ref": "#/channels/stream"},
        "messages": [{"$ref": f"#/channels/stream/messages/{name}"} for name in names],
    }


def _relocated(value: Any) -> Any:
    """The schema with its references pointing to where AsyncAPI keeps schemas."""
    if isinstance(value, dict):
        return {key: _relocated(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_relocated(item) for item in value]
    if isinstance(value, str) and value.startswith(_DEFS):
        return _SCHEMAS + value.removeprefix(_DEFS)
    return value
