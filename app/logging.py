"""One log for everything, ours and the libraries', with secrets masked.

structlog renders both its own entries and those of the standard library's loggers. The request id
of the request or connection at hand is bound by :mod:`app.context`.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from guards.secrets import PREFIX

MASK: Final = "********"

_PATTERNS: Final = (
    (re.compile(rf"{PREFIX}\w+"), f"{PREFIX}{MASK}"),
    # A JSON Web Token: its first part is a JSON object in base64.
    (re.compile(r"\beyJ[\w-]{8,}(\.[\w-]*)*"), f"eyJ{MASK}"),
    (re.compile(r"\btk_[\w-]{20,}"), f"tk_{MASK}"),
    (re.compile(r"(?i)\b(bearer|token|basic)\s+[^\s\"',;]{8,}"), rf"\1 {MASK}"),
    (
        re.compile(r"(?i)\b(ticket|access_token|token|api[_-]?key|key)=[^&\s\"']+"),
        rf"\1={MASK}",
    ),
)
_NOISY: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "httpx", "httpcore", "websockets")
_SECRET_NAMES: Final = frozenset(
    {
        "admin_key",
        "api-key",
        "api_key",
        "authorization",
        "cookie",
        "password",
        "pepper",
        "resume_token",
        "secret",
        "set-cookie",
        "ticket",
        "token",
        "x-api-key",
    }
)


class Redact:
    """A structlog processor that masks whatever looks like a credential, at any depth.

    ``literals`` are secrets of no recognisable form, such as a chosen admin key.
    """

    def __init__(self, literals: Iterable[str] = ()) -> None:
        self._literals = tuple(literal for literal in literals if literal)

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> EventDict:
        return {name: self._named(name, value) for name, value in event.items()}

    def _named(self, name: str, value: Any) -> Any:
        if name.lower() in _SECRET_NAMES and value:
            return MASK
        return self._value(value)

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, bytes):
            return self._text(value.decode(errors="replace"))
        if isinstance(value, dict):
            return {key: self._named(str(key), item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value(item) for item in value]
        if isinstance(value, BaseException):
            return self._text(repr(value))
        return value

    def _text(self, text: str) -> str:
        for literal in self._literals:
            text = text.replace(literal, MASK)
        for pattern, replacement in _PATTERNS:
            text = pattern.sub(replacement, text)
        return text


def configure(*, level: str, form: Literal["console", "json"], secrets: Iterable[str] = ()) -> None:
    """Set up logging for the process, to stderr. The last call counts."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        # Tracebacks as text before masking; and never with local variables, which hold secrets.
        structlog.processors.format_exc_info,
        Redact(secrets),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    handler.addFilter(_answered)
    logging.getLogger().handlers = [handler]
    for name in _NOISY:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
    set_level(level)


def set_level(level: str) -> None:
    """Log what is at least this severe, from now on."""
    logging.getLogger().setLevel(level.upper())
    # Each request and connection is logged once, by app.context; uvicorn would say it again, with
    # the query string.
    noisy = logging.DEBUG if level == "debug" else logging.WARNING
    for name in _NOISY:
        logging.getLogger(name).setLevel(noisy)


def current_level() -> str:
    """The least severe level that is logged."""
    return logging.getLevelName(logging.getLogger().level).lower()


def _answered(record: logging.LogRecord) -> bool:
    """Leaves out what uvicorn takes for an error: a handshake refused with a response of its own,
    which is how :mod:`guards.denial` refuses.
    """
    return record.msg != "ASGI callable returned without completing handshake."
