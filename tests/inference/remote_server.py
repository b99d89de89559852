"""A translation service on a real socket, with both dialects, and with the faults that such have.

Its translations are those of a ``Translator`` of ours.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec

from inference.languages import canonical
from streaming.ports import Translator
from streaming.types import Priority, TranslationJob

Send = Callable[[bytes], Awaitable[None]]
_LANGUAGES = re.compile(r"from (\w+) to (\w+)\.")
_CODES = {"English": "en", "Portuguese": "pt"}


@dataclass
class Service:
    """``faults`` are used up, the first one by the next request: a status, or one of ``slow``,
    ``garbage``, ``endless``, ``half`` (it dies in the middle of its answer) and ``chatter``.
    ``fault`` is that of every request.
    """

    translator: Translator
    faults: list[int | str] = field(default_factory=list)
    fault: int | str | None = None
    retry_after: str | None = None
    key: str | None = None
    requests: list[tuple[str, Any]] = field(default_factory=list)
    port: int = 0
    _numbers: Any = field(default_factory=count)
    _server: asyncio.Server | None = None
    _connections: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Be gone, for those who are connected as well."""
        if self._server is not None:
            self._server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)
            self._server = None

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (head := await reader.readuntil(b"\r\n\r\n")) is not None:
                lines = head.decode().split("\r\n")
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self._answer(writer, lines[0].split(" ")[1], headers, body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(
        self, writer: asyncio.StreamWriter, path: str, headers: dict[str, str], body: bytes
    ) -> None:
        request = msgspec.json.decode(body) if body else None
        self.requests.append((path, request))
        fault = self.faults.pop(0) if self.faults else self.fault
        status, answer = 200, b"[]"
        if fault == "slow":
            await asyncio.Event().wait()
        elif isinstance(fault, int):
            status, answer = fault, b'{"error": "a secret of the service"}'
        elif self.key is not None and not self._authorised(headers, request):
            status = 403
        elif fault == "garbage":
            answer = b"<html>It works!</html>"
        elif fault == "endless":
            answer = b'"' + b"x" * (2 << 20) + b'"'
        else:
            answer = msgspec.json.encode(await self._do(path, request, chatter=fault == "chatter"))
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(answer)}\r\n"
        if status != 200 and self.retry_after is not None:
            head += f"Retry-After: {self.retry_after}\r\n"
        if fault == "half":
            writer.write(head.encode() + b"\r\n" + answer[: len(answer) // 2])
            await writer.drain()
            raise ConnectionResetError
        writer.write(head.encode() + b"\r\n" + answer)
        await writer.drain()

    def _authorised(self, headers: dict[str, str], request: Any) -> bool:
        given = request.get("api_key") if isinstance(request, dict) else self.key
        return self.key in (given, headers.get("authorization", "").removeprefix("Bearer "))

    async def _do(self, path: str, request: Any, *, chatter: bool) -> Any:
        if path == "/languages":
            sources = sorted({source for source, _ in self.translator.pairs})
            return [
                {
                    "code": source,
                    "name": source,
                    "targets": [
                        source,
                        *sorted(end for start, end in self.translator.pairs if start == source),
                    ],
                }
                for source in sources
            ]
        if path == "/translate":
            pair = request["source"], request["target"]
            made = await asyncio.gather(*(self._translate(text, *pair) for text in request["q"]))
            return {"translatedText": ["x" * 9000 for _ in made] if chatter else made}
        found = _LANGUAGES.search(request["messages"][0]["content"])
        assert found is not None
        text = request["messages"][1]["content"]
        made_one = await self._translate(text, *(_CODES[name] for name in found.groups()))
        if chatter:
            made_one = "Certainly! Here is what you asked for. " * 200
        message = {"role": "assistant", "content": f"<think>Hm.</think>\n{made_one}"}
        return {"choices": [{"message": message, "finish_reason": "stop"}]}

    async def _translate(self, text: str, source: str, target: str) -> str:
        number = next(self._numbers)
        known = canonical(source) or source, canonical(target) or target
        job = TranslationJob(f"remote-{number}", 0, 0, text, *known, Priority.FINAL)
        return (await self.translator.translate(job)).text


@asynccontextmanager
async def service(translator: Translator, **options: Any) -> AsyncIterator[Service]:
    """A service that listens while the block lasts."""
    made = Service(translator, **options)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
