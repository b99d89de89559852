"""Actions of administrators over HTTP, written down as they are carried out."""

from __future__ import annotations

import re
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from litestar import Request

from app.context import request_id
from app.services import services_of
from guards.audit import Action, AuditEntry, recorded
from guards.credentials import address_of
from guards.principal import Principal

log = structlog.get_logger(__name__)

_ID: Final = re.compile(r"(key|sub|s)_[0-9a-z]{1,64}")


def audited(
    request: Request[Principal, Any, Any], action: str, target: str = "", **details: Any
) -> AbstractAsyncContextManager[Action]:
    """Write down what the block does (:func:`guards.audit.recorded`), in the process's log, too.

    ``details`` must hold no secret. A ``target`` that has not the form of an id is left out: it
    came in an address, where somebody may have put a key in its id's place.
    """
    principal = request.user
    entry = AuditEntry(
        at=datetime.now(UTC),
        key_id=principal.key_id,
        user_id=principal.user_id,
        action=action,
        target=target if _ID.fullmatch(target) else "",
        details=details,
        request_id=request_id(request.scope),
        address=address_of(request),
    )
    audit = services_of(request).audit

    async def append(entry: AuditEntry) -> None:
        log.info(
            "admin action",
            action=entry.action,
            target=entry.target,
            outcome=entry.outcome,
            by=entry.key_id,
        )
        await audit.append(entry)

    return recorded(append, entry)
