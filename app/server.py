"""Serving: models first, then the port; and, on a signal, finals first, then the sockets."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import math
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from types import FrameType
from typing import Final, NoReturn

import structlog
import uvicorn
from litestar.types import ASGIApp

from app.factory import create_app
from app.logging import configure
from app.services import Services, build_services
from app.settings import Settings, variable
from app.state import patiently
from app.supervisor import READY, STOPPING, notify
from guards.errors import StoreUnavailable

log = structlog.get_logger(__name__)

WS_MAX_BYTES: Final = 16 * 1024 * 1024
"""What the WebSocket layer takes. More than the application does, so that it is the application
that says what was wrong; beyond this the connection just ends (1009)."""

_LONG_ENOUGH: Final = 16
"""Characters of a chosen admin key that nobody guesses at the rate that is allowed."""

_CLOSE_SECONDS: Final = 8.0
"""How long workers and stores may take to end once nobody is served any more. With the default time
for draining that is less than the 30 s after which most supervisors kill."""

_TURN_SECONDS: Final = 0.001
"""How long one thread may keep the interpreter from the others. With Python's 5 ms a thread that
needs it ten times for a piece of work, as databases and models do, waits 50 ms beside a busy event
loop; switching costs the loop a few microseconds."""

_GARBAGE: Final = (10_000, 20, 20)
"""How many objects are made until the youngest are looked through for garbage, and how often that
until older ones are. With Python's 700, 10 and 10 and a thousand sessions that is one part in
twenty of the time, and everything stands still for a third of a second now and then. What goes
round in circles here, and so is left for this, is little."""

_PING_SECONDS: Final = 20.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

Say = Callable[[str], None]
Build = Callable[[Settings, Say], Awaitable[Services]]


class ServeError(Exception):
    """The server can't start: one line that says why."""


class Server(uvicorn.Server):
    """uvicorn, told to let streams finish before it closes their sockets.

    By itself uvicorn closes WebSockets (1012) before the application hears of the shutdown: finals
    would be lost. And it raises a signal again once it has obeyed it, so that a stop that went well
    would look like a crash.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.services: Services | None = None
        self.announce: Callable[[], None] = lambda: None
        """Called once the port is open."""
        self.stopping = asyncio.Event()
        self._forced = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals stop the server for as long as the block lasts; the second one at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        self._loop = asyncio.get_running_loop()
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - uvicorn's signature
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self.stop)

    def stop(self) -> None:
        """Begin to stop; asked again, stop at once."""
        if self.stopping.is_set():
            self.force_exit = True
            self._forced.set()
        self.should_exit = True
        self.stopping.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does, and then say so."""
        await super().startup(sockets)
        self.announce()
        notify(READY)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then do as uvicorn does, within the same time."""
        notify(STOPPING)
        if self.services is not None:
            started = time.monotonic()
            await self._drain(self.services)
            total = self.services.settings.drain_timeout_seconds
            left = total - (time.monotonic() - started)
            self.config.timeout_graceful_shutdown = max(1, math.ceil(left))
        await super().shutdown(sockets)

    async def _drain(self, services: Services) -> None:
        log.info("draining", sessions=len(services.sessions))
        drained = asyncio.create_task(services.drain())
        forced = asyncio.create_task(self._forced.wait())
        await asyncio.wait((drained, forced), return_when=asyncio.FIRST_COMPLETED)
        if not (drained.done() and drained.result()):
            log.warning("streams cut off", sessions=len(services.sessions))
        for task in (drained, forced):
            task.cancel()
        await asyncio.gather(drained, forced, return_exceptions=True)


def serve(settings: Settings, say: Say = print, build: Build = build_services) -> int:
    """Run until a signal. ``say`` shows a line to people. Returns the exit code.

    Raises :class:`ServeError` when the server can't start.
    """
    sys.setswitchinterval(_TURN_SECONDS)
    configure(level=settings.log_level, form=settings.log_format, secrets=settings.secrets)
    check_certificate(settings)
    config = server_config(settings)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        return runner.run(_serve(settings, config, say, build))


def _spare_what_stays() -> None:
    """Look for garbage rarely, and never again in what is there now: modules, models, routes."""
    gc.set_threshold(*_GARBAGE)
    gc.collect()
    gc.freeze()


def check_certificate(settings: Settings) -> None:
    """Make sure that TLS will work before anything is loaded. Raises :class:`ServeError`."""
    if settings.ssl_certfile is None or settings.ssl_keyfile is None:
        return
    try:
        # The empty password is for encrypted keys: nobody is there to be asked for one.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            settings.ssl_certfile, settings.ssl_keyfile, password=""
        )
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ServeError(
            f"{variable('ssl_certfile')}, {variable('ssl_keyfile')}: no certificate and its "
            f"unencrypted key, both PEM ({getattr(error, 'reason', None) or error})"
        ) from error


def server_config(settings: Settings, app: ASGIApp | None = None) -> uvicorn.Config:
    """Uvicorn's configuration for these settings. The app may be set later."""
    return uvicorn.Config(
        app or "",
        host=settings.host,
        port=settings.port,
        ws="websockets-sansio",
        ws_max_size=WS_MAX_BYTES,
        ws_per_message_deflate=False,
        ws_ping_interval=_PING_SECONDS,
        # The pong of a client that is held back waits behind its audio: no answer means nothing.
        # Who is gone is found by the idle timeout and by writes that fail.
        ws_ping_timeout=None,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.ssl_certfile,
        ssl_keyfile=settings.ssl_keyfile,
    )


async def _serve(settings: Settings, config: uvicorn.Config, say: Say, build: Build) -> int:
    server = Server(config)
    with server.capture_signals(), contextlib.closing(bind(settings.host, settings.port)) as sock:
        ready = await _unless_stopped(server, _ready(settings, say, build))
        if ready is None:
            return 0
        services, key = ready
        server.services = services
        try:
            lines = _introduction(settings, _address(settings, sock), key)

            def announce() -> None:
                _spare_what_stays()
                say("\n".join(lines))

            server.announce = announce
            config.app = create_app(settings, services)
            try:
                await server.serve(sockets=[sock])
            except OSError as error:
                raise ServeError(_cannot_listen(settings.host, settings.port, error)) from error
        finally:
            await _close(services)
    log.info("stopped")
    return 0


async def _ready(settings: Settings, say: Say, build: Build) -> tuple[Services, str | None]:
    """The services, and the admin key if it is a new one."""
    services = await build(settings, say)
    try:
        return services, await admin_key(services)
    except BaseException:
        await _close(services)
        raise


async def admin_key(services: Services) -> str | None:
    """Make sure that there is an admin key; its text, if it is a new one.

    Raises :class:`ServeError` when the store stays away.
    """
    settings = services.settings
    given = settings.admin_key.get_secret_value() if settings.admin_key else None
    if given is not None and len(given) < _LONG_ENOUGH:
        log.warning("SURTITLE_ADMIN_KEY is short enough to be guessed", characters=_LONG_ENOUGH)
    try:
        return await patiently(
            lambda: services.keyring.ensure_admin(given), settings.redis_wait_seconds
        )
    except StoreUnavailable as error:
        raise ServeError(f"{variable('redis_url')}: {error.message}") from error


async def _close(services: Services) -> None:
    """Close in order; or, where something hangs in a library, leave without it."""
    closing = asyncio.create_task(services.close())
    await asyncio.wait((closing,), timeout=_CLOSE_SECONDS)
    if not closing.done():
        log.error("something hangs and was left behind", seconds=_CLOSE_SECONDS)
        leave(0)
    await closing


async def _unless_stopped(
    server: Server, coming: Awaitable[tuple[Services, str | None]]
) -> tuple[Services, str | None] | None:
    """What comes, or None when a signal came first."""
    task = asyncio.ensure_future(coming)
    stopping = asyncio.create_task(server.stopping.wait())
    await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not server.stopping.is_set():
        return await task
    if not task.done():
        # Threads in the middle of loading a model can't be stopped, and the loop would wait for
        # them. Nobody has been served, nothing is half written that a start would not mend.
        leave(0)
    services, _ = task.result()
    await services.close()
    return None


def leave(code: int) -> NoReturn:
    """End the process now, with what was printed and logged.

    Also the end of an orderly stop: what is left then are the thread pools of two native runtimes,
    whose destructors can wait for each other for ever when the interpreter unloads them.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet. Raises :class:`ServeError`."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(address)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise ServeError(_cannot_listen(host, port, error)) from error
    return sock


def _cannot_listen(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; stop what uses it, or set SURTITLE_PORT"
    if error.errno == errno.EACCES:
        return f"port {port} on {host} needs more rights; set SURTITLE_PORT to one above 1023"
    return f"can't listen on {host}, port {port}: {error.strerror or error}"


def _address(settings: Settings, sock: socket.socket) -> str:
    """Where a browser on this machine finds the server."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host == "0.0.0.0" else "[::1]"
    elif ":" in host:
        host = f"[{host}]"
    return f"{'https' if settings.secure else 'http'}://{host}:{port}/"


def _introduction(settings: Settings, address: str, key: str | None) -> list[str]:
    """What tells people where the server is, and the first time its admin key."""
    if key is not None:
        return [f"Admin key, shown this once: {key}", f"Open {address}#key={key}"]
    where = "SURTITLE_ADMIN_KEY is one; " if settings.admin_key else ""
    return [f"API keys: {where}`surtitle keys create` makes more", f"Open {address}"]
