"""``/v1/stream``: sessions of the core over a Litestar WebSocket."""

from __future__ import annotations

from typing import Final

from litestar import websocket

from app.services import services_of, serving
from app.streams import Stream, Streams
from app.transport import Socket, SocketTransport
from guards.admission import limited
from guards.auth import may_stream, permitted_origin
from guards.credentials import agreed_subprotocol
from guards.pace import Pace
from guards.principal import Principal
from guards.tiers import Endpoint
from streaming.errors import SurtitleError

RETURNING: Final = "resume"
"""The query parameter of a client that is coming back to a session. It has no secret in it."""


@websocket("/v1/stream", guards=[permitted_origin, may_stream, serving, limited(Endpoint.STREAM)])
async def stream_handler(socket: Socket) -> None:
    """Captions for one speaker: audio in, partials, finals and translations out."""
    services, principal = services_of(socket), socket.user
    streams = services.streams
    returning = RETURNING in socket.query_params or streams.awaits(principal)
    pace = Pace(services.limiter.limits(principal).messages_per_second)
    stream = await streams.begin(principal, returning=returning)
    try:
        await socket.accept(subprotocols=agreed_subprotocol(socket))
        await _converse(streams, stream, principal, SocketTransport(socket, pace))
    finally:
        if not stream.session.started:
            stream.driver.abandon()


async def _converse(
    streams: Streams, stream: Stream, principal: Principal, transport: SocketTransport
) -> None:
    """Serve a new session, or the one that the client comes back to."""
    while (request := await stream.serve(transport)) is not None:
        # Who has a token was told `ready`, the first event.
        received = max(1, request.received_seq)
        try:
            other = await streams.resume(principal, request.token, received)
        except SurtitleError as error:
            stream.driver.refuse(error)
            continue
        stream.driver.abandon()
        await other.serve(transport, received)
        return
