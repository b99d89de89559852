from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.chaos.proxy import Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Echo:
    """A server that answers with what it is sent, and notes how connections end."""

    def __init__(self) -> None:
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1024):
                writer.write(data)
                await writer.drain()
            await self.ends.put("closed")
            writer.write(b"bye")
        except ConnectionError:
            await self.ends.put("reset")
        finally:
            writer.close()


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[Echo]:
    echo = Echo()
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
        echo.port = server.sockets[0].getsockname()[1]
        yield echo


@pytest_asyncio.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with Proxy([echo.port]) as proxy:
        yield proxy


async def connected(proxy: Proxy) -> Streams:
    """A connection that goes all the way through."""
    streams = await asyncio.open_connection("127.0.0.1", proxy.port)
    await said(streams, b"hello")
    return streams


async def said(streams: Streams, data: bytes) -> None:
    streams[1].write(data)
    assert await streams[0].readexactly(len(data)) == data


async def silent(reader: asyncio.StreamReader, queue: asyncio.Queue[str]) -> bool:
    """Whether neither side hears anything, after all that could be forwarded at once was."""
    reading = asyncio.ensure_future(reader.read(1))
    for _ in range(100):
        await asyncio.sleep(0)
    nothing = not reading.done() and queue.empty()
    reading.cancel()
    return nothing


async def test_data_and_ends_go_through(echo: Echo, proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    assert len(proxy) == 1
    writer.write_eof()
    assert await reader.read() == b"bye"
    assert await echo.ends.get() == "closed"
    writer.close()


async def test_a_cut_resets_both_sides(echo: Echo, proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    assert proxy.cut() == 1
    with pytest.raises(ConnectionResetError):
        await reader.read()
    assert await echo.ends.get() == "reset"
    writer.close()


async def test_a_frozen_connection_says_nothing_to_either_side(echo: Echo, proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    assert proxy.freeze() == 1
    writer.write(b"are you there?")
    assert await silent(reader, echo.ends)
    writer.transport.abort()
    assert await silent(asyncio.StreamReader(), echo.ends)
    # Others are not affected, and it is not frozen twice.
    other = await connected(proxy)
    assert proxy.freeze() == 1
    other[1].transport.abort()


async def test_a_half_close_is_told_to_the_server_alone(echo: Echo, proxy: Proxy) -> None:
    reader, writer = await connected(proxy)
    assert proxy.half_close() == 1
    assert await echo.ends.get() == "closed"
    writer.write(b"lost")  # which is no error
    assert await reader.read() == b"bye"
    writer.close()


async def test_a_refusing_proxy_resets(proxy: Proxy) -> None:
    proxy.refusing = True
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_the_next_target_takes_over_from_one_that_is_gone(echo: Echo, proxy: Proxy) -> None:
    async with await asyncio.start_server(echo.serve, "127.0.0.1", 0) as server:
        gone = server.sockets[0].getsockname()[1]
    proxy.targets = [gone, echo.port]
    for _ in range(3):
        _, writer = await connected(proxy)
        writer.close()
    proxy.targets = [gone]
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
