"""What a supervisor is told: systemd's readiness protocol (sd_notify(3)), which is a datagram."""

from __future__ import annotations

import os
import socket
from typing import Final

import structlog

log = structlog.get_logger(__name__)

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"


def notify(state: str) -> None:
    """Tell who started this process, if it wants to know (``NOTIFY_SOCKET``). Never raises."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # Linux's abstract namespace
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # a supervisor that does not read must not stop the loop
            sock.sendto(state.encode(), address)
    except OSError as error:
        log.warning("the supervisor does not listen", state=state, error=str(error))
