"""A multipart form with one file, read as it arrives and bounded all along.

Litestar's own form parsing knows a bound for the whole body only, decodes fields in whatever
charset the client names, and learns the file's hash in a second pass.
"""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final, cast

import multipart
from litestar import Request
from litestar.exceptions import InternalServerException

from streaming.errors import SurtitleError, UnsupportedMedia

_IN_MEMORY: Final = 1024 * 1024
"""Bytes of a file that stay in memory; the rest goes to a temporary file."""
_MAX_FIELD_BYTES: Final = 16 * 1024
_MAX_PARTS: Final = 32
_PATIENCE_SECONDS: Final = 60.0
"""How long an upload may stand still."""


class InvalidForm(SurtitleError):
    """The body is no readable form, or a field is missing or wrong."""

    code = "invalid_request"
    status = 400


class FileTooLarge(SurtitleError):
    """More bytes than one upload may have."""

    code = "payload_too_large"
    status = 413


class UploadStalled(SurtitleError):
    """Nothing of an upload came for a long time."""

    code = "request_timeout"
    status = 408


@dataclass(slots=True)
class Form:
    """What was sent. ``file`` stands at its beginning; it has no name, on purpose."""

    file: BinaryIO
    size: int = 0
    sha256: str = ""
    received: bool = False
    fields: dict[str, str] = field(default_factory=dict)


@asynccontextmanager
async def receive_form(request: Request[Any, Any, Any], *, max_bytes: int) -> AsyncIterator[Form]:
    """Read a form whose file part is called ``file``; the file is deleted on exit.

    Raises ``UnsupportedMedia`` when the body is no multipart form, ``FileTooLarge`` as soon as
    that shows, ``UploadStalled``, and ``InvalidForm``.
    """
    kind, options = request.content_type
    boundary = options.get("boundary")
    if kind != "multipart/form-data" or not boundary:
        raise UnsupportedMedia("Send the file as a form: `multipart/form-data`, part `file`.")
    announced = request.headers.get("content-length", "")
    # The form around a file is small; what is announced as far too large is not read at all.
    if announced.isdecimal() and int(announced) > max_bytes + _MAX_PARTS * _MAX_FIELD_BYTES:
        raise _too_large(max_bytes)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        # All of BinaryIO that anybody asks of it, if not by name.
        form = Form(cast("BinaryIO", file))
        try:
            await _Reader(form, boundary, max_bytes).read(request)
        except multipart.ParserLimitReached as error:
            raise InvalidForm("The form has too many parts, or too large ones.") from error
        except multipart.MultipartError as error:
            raise InvalidForm("The form can't be read; it may have been cut short.") from error
        except InternalServerException as error:
            # What Litestar makes of a client that hangs up; it is no fault of the server.
            raise InvalidForm("The upload was broken off.") from error
        if not form.received:
            raise InvalidForm(
                "The form lacks its file.",
                errors=[{"path": "file", "in": "body", "message": "a file is required"}],
            )
        yield form


class _Reader:
    def __init__(self, form: Form, boundary: str, max_bytes: int) -> None:
        self._form = form
        self._max_bytes = max_bytes
        self._digest = hashlib.sha256()
        self._parser = multipart.PushMultipartParser(boundary, max_segment_count=_MAX_PARTS)
        self._name = ""
        self._value = bytearray()

    async def read(self, request: Request[Any, Any, Any]) -> None:
        with self._parser:
            stream = request.stream()
            while (chunk := await self._next(stream)) is not None:
                # An empty chunk would tell the parser that this was all.
                if chunk and not self._parser.closed:
                    await self._feed(chunk)
        self._form.sha256 = self._digest.hexdigest()
        await asyncio.to_thread(self._form.file.seek, 0)

    @staticmethod
    async def _next(stream: AsyncGenerator[bytes, None]) -> bytes | None:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                return await anext(stream, None)
        except TimeoutError as error:
            raise UploadStalled(
                f"Nothing of the upload came for {_PATIENCE_SECONDS:g} seconds."
            ) from error

    async def _feed(self, chunk: bytes) -> None:
        sound = bytearray()
        for event in self._parser.parse(chunk):
            if isinstance(event, multipart.MultipartSegment):
                self._begin(event.name)
            elif event is None:
                self._finish()
            elif self._name == "file":
                sound += event
            elif len(self._value) + len(event) > _MAX_FIELD_BYTES:
                raise InvalidForm(f"The field {self._name[:64]!r} is too long.")
            else:
                self._value += event
        if sound:
            self._form.size += len(sound)
            if self._form.size > self._max_bytes:
                raise _too_large(self._max_bytes)
            self._digest.update(sound)
            if self._form.size > _IN_MEMORY:
                await asyncio.to_thread(self._form.file.write, bytes(sound))
            else:
                self._form.file.write(bytes(sound))

    def _begin(self, name: str) -> None:
        if name == "file":
            if self._form.received:
                raise InvalidForm("The form has several files; send one at a time.")
            self._form.received = True
        self._name = name
        self._value = bytearray()

    def _finish(self) -> None:
        if self._name == "file":
            return
        try:
            self._form.fields[self._name] = self._value.decode()
        except UnicodeDecodeError as error:
            raise InvalidForm(f"The field {self._name[:64]!r} is not UTF-8.") from error


def _too_large(max_bytes: int) -> FileTooLarge:
    return FileTooLarge(f"A file may have {max_bytes} bytes.", max_bytes=max_bytes)
