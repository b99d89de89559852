"""A WebSocket server that does nothing, on the same uvicorn: what a socket alone takes.

python -m bench.load.bare PORT
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn

from app.server import server_config
from app.settings import Settings
from streaming import wire

READY = wire.encode(
    wire.ReadyEvent(
        seq=1, session="bare", resume_token=None, limits=wire.Limits(1, 1.0, 1.0), model="none"
    )
).decode()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """Accepts every WebSocket, answers its first message, and reads on."""
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    await send({"type": "websocket.send", "text": READY})
    while (await receive())["type"] == "websocket.receive":
        pass


def main() -> None:
    settings = Settings.model_validate({"port": int(sys.argv[1]), "data_dir": Path.cwd()})
    config = server_config(settings, application)
    config.lifespan = "off"
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
