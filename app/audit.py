"""Actions of administrators, written down as they are carried out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog
from litestar import Request

from app.context import request_id
from app.services import services_of
from guards.audit import AuditEntry
from guards.credentials import address_of
from guards.principal import Principal
from streaming.errors import SurtitleError

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Action:
    """An action under way. Who carries it out may fill in what it is about."""

    target: str


@asynccontextmanager
async def audited(
    request: Request[Principal, Any, Any], action: str, target: str = "", **details: Any
) -> AsyncIterator[Action]:
    """Write down what the block does: ``done``, or the code of the error it raised.

    ``details`` must hold no secret. Raises ``StoreUnavailable`` when it can't be written: the
    action may have been carried out then, and the process's log says so.
    """
    principal = request.user
    entry = AuditEntry(
        at=datetime.now(UTC),
        key_id=principal.key_id,
        user_id=principal.user_id,
        action=action,
        target=target,
        details=details,
        request_id=request_id(request.scope),
        address=address_of(request),
    )
    running = Action(target)
    try:
        yield running
    except SurtitleError as error:
        entry = replace(entry, outcome=error.code)
        raise
    finally:
        entry = replace(entry, target=running.target)
        log.info(
            "admin action",
            action=entry.action,
            target=entry.target,
            outcome=entry.outcome,
            by=entry.key_id,
        )
        await services_of(request).audit.append(entry)
