"""The application on fakes: everything of it is real but the models."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from litestar import Litestar
from litestar.testing import AsyncTestClient
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from app.breakers import Breakers
from app.factory import create_app
from app.identity import build_throttle, build_tokens
from app.server import Server, bind, server_config
from app.services import Services, load_tiers
from app.settings import Settings
from app.state import opened
from guards.keys import KeyRecord
from guards.principal import Tier
from inference.fakes import FakeContainerDecoder, FakeDetector, FakeRecognizer, FakeTranslator
from inference.identification import UNDETERMINED
from inference.languages import Languages
from streaming.types import Audio, Route

ADMIN_KEY = "the-admin-key-of-the-tests"


@dataclass
class Fakes:
    """The models, and the key of a user without scopes."""

    recognizer: FakeRecognizer = field(default_factory=FakeRecognizer)
    translator: FakeTranslator = field(default_factory=FakeTranslator)
    tier: Tier = Tier.PRO
    services: Services = field(init=False)
    key: str = ""
    record: KeyRecord = field(init=False)


def text_route(translator: FakeTranslator) -> Callable[[str, str], Route | None]:
    def route(source: str, target: str) -> Route | None:
        direct = (source, target) in translator.pairs
        return Route(source, target, "direct", "fake") if direct else None

    return route


def languages(recognizer: FakeRecognizer, translator: FakeTranslator) -> Languages:
    return Languages(
        speech=recognizer.languages,
        speech_to_english=recognizer.translates,
        text_pairs=translator.pairs,
        text_route=text_route(translator),
    )


async def identify(text: str) -> tuple[str, float]:
    if not any(map(str.isalpha, text)):
        return UNDETERMINED, 0.0
    return ("pt" if "ã" in text or "Bom" in text else "en"), 0.9


@asynccontextmanager
async def services(
    tmp_path: Path, fakes: Fakes | None = None, **settings: Any
) -> AsyncIterator[Fakes]:
    """Services on fakes with a real key store; ready, with an admin key and a user's key."""
    fakes = fakes or Fakes()
    effective = Settings(data_dir=tmp_path, **settings)
    breakers = Breakers.of(effective)
    stack = AsyncExitStack()
    state = await stack.enter_async_context(
        opened(effective, breakers, patience=effective.redis_wait_seconds)
    )
    tokens, closers = build_tokens(effective, state.keyring, state.pepper)
    fakes.services = Services(
        settings=effective,
        recognizer=fakes.recognizer,
        detector=FakeDetector(),
        translator=fakes.translator,
        languages=languages(fakes.recognizer, fakes.translator),
        open_container=FakeContainerDecoder,
        state=state,
        tokens=tokens,
        throttle=build_throttle(effective, state.windows),
        tiers=load_tiers(effective),
        identify=identify,
        breakers=breakers,
        closers=[stack.aclose, *closers],
        ready=True,
    )
    await state.keyring.ensure_admin(ADMIN_KEY)
    fakes.key, fakes.record = await state.keyring.issue(user_id="ana", tier=fakes.tier)
    try:
        yield fakes
    finally:
        await fakes.services.close()


@asynccontextmanager
async def client(
    tmp_path: Path, fakes: Fakes | None = None, **settings: Any
) -> AsyncIterator[tuple[AsyncTestClient[Litestar], Fakes]]:
    """A client of the application, with the user's key."""
    async with services(tmp_path, fakes, **settings) as built:
        app = create_app(built.services.settings, built.services)
        async with AsyncTestClient(app, raise_server_exceptions=False) as http:
            http.headers["Authorization"] = f"Bearer {built.key}"
            yield http, built


def admin() -> dict[str, str]:
    return {"Authorization": f"Bearer {ADMIN_KEY}"}


def wav(audio: Audio) -> bytes:
    """16-bit WAV."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.round(audio * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


async def rest(socket: ClientConnection) -> list[dict[str, Any]]:
    """All events of a stream until the server closes."""
    events = []
    with contextlib.suppress(ConnectionClosed):
        while True:
            events.append(json.loads(await socket.recv()))
    return events


@asynccontextmanager
async def running(
    tmp_path: Path, fakes: Fakes | None = None, *, ws: str = "websockets-sansio", **settings: Any
) -> AsyncIterator[tuple[str, Fakes, Server]]:
    """The application on a real uvicorn, at an address ``127.0.0.1:port``, in this loop."""
    async with services(tmp_path, fakes, **settings) as built:
        effective = built.services.settings
        config = server_config(effective, create_app(effective, built.services))
        config.ws = ws
        server = Server(config)
        server.services = built.services
        sock = bind("127.0.0.1", 0)
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event
            await asyncio.sleep(0)
        if serving.done():
            await serving
        try:
            yield f"127.0.0.1:{sock.getsockname()[1]}", built, server
        finally:
            server.stop()
            await serving
