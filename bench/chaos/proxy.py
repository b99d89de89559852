"""A bad network: a TCP proxy that can cut, freeze, half-close and delay what goes through it.

In front of several servers it is the plainest of load balancers: each new connection goes to the
next of them that accepts it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Sequence
from types import TracebackType
from typing import Final, Self

_RESET: Final = struct.pack("ii", 1, 0)
"""``SO_LINGER`` by which a close discards what waits and sends RST."""
_CHUNK: Final = 16 * 1024


class Proxy:
    """Listens on a free port of 127.0.0.1 for as long as its block lasts.

    ``delay`` is in seconds, each way, for every piece of data.
    """

    def __init__(self, targets: Sequence[int]) -> None:
        self.targets = list(targets)
        """Ports on 127.0.0.1. May be changed while running."""
        self.delay = 0.0
        self.refusing = False
        """Whether new connections are reset at once."""
        self.port = 0
        self._links: set[_Link] = set()
        self._turn = 0
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None  # noqa: S101 - set on entry
        self._server.close()
        links = list(self._links)
        for link in links:
            link.cut()
        await asyncio.gather(*(link.ended.wait() for link in links))
        await self._server.wait_closed()

    def __len__(self) -> int:
        """How many connections go through it, the frozen ones included."""
        return len(self._links)

    def cut(self) -> int:
        """Reset all connections, on both sides. Returns how many."""
        links = [link for link in self._links if not link.frozen]
        for link in links:
            link.cut()
        return len(links)

    def freeze(self) -> int:
        """Forward nothing more on the connections there are: no data, no FIN, no RST.

        What connects from now on is not affected. Returns how many were frozen.
        """
        links = [link for link in self._links if not link.frozen]
        for link in links:
            link.frozen = True
        return len(links)

    def half_close(self) -> int:
        """Tell the servers that the clients send no more (FIN), and nobody else. Returns of how
        many connections.
        """
        links = [link for link in self._links if not link.frozen]
        for link in links:
            link.half_close()
        return len(links)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = None if self.refusing else await self._connect()
        if upstream is None:
            _reset(writer)
            return
        link = _Link(self, (reader, writer), upstream)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)
            link.ended.set()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self.targets:
            self._turn += 1
            port = self.targets[self._turn % len(self.targets)]
            try:
                return await asyncio.open_connection("127.0.0.1", port, limit=_CHUNK)
            except OSError:
                continue
        return None


class _Link:
    """One connection through the proxy."""

    def __init__(
        self,
        proxy: Proxy,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._cut = asyncio.Event()
        self._half_closed = False
        self.frozen = False
        self.ended = asyncio.Event()

    def cut(self) -> None:
        self._cut.set()

    def half_close(self) -> None:
        if not self._half_closed:
            self._half_closed = True
            self._server[1].write_eof()

    async def run(self) -> None:
        pumps = [
            asyncio.create_task(self._pump(self._client[0], self._server[1])),
            asyncio.create_task(self._pump(self._server[0], self._client[1])),
        ]
        cut = asyncio.create_task(self._cut.wait())
        try:
            forwarded = asyncio.create_task(asyncio.wait(pumps))
            await asyncio.wait([forwarded, cut], return_when=asyncio.FIRST_COMPLETED)
            forwarded.cancel()
        finally:
            for task in (*pumps, cut):
                task.cancel()
            await asyncio.gather(*pumps, cut, return_exceptions=True)
            for _, writer in (self._client, self._server):
                _reset(writer) if self._cut.is_set() else writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(_CHUNK):
                if self._proxy.delay:
                    await asyncio.sleep(self._proxy.delay)
                await self._thawed()
                if self._half_closed and writer is self._server[1]:
                    continue  # it was told that nothing more comes
                writer.write(data)
                await writer.drain()
            await self._thawed()
            if writer is self._server[1]:
                self.half_close()
            elif not writer.transport.is_closing():
                writer.write_eof()
        except OSError:
            await self._thawed()
            self.cut()  # a reset is handed on as one

    async def _thawed(self) -> None:
        """Return unless frozen: frozen is for ever."""
        if self.frozen:
            await asyncio.Event().wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
