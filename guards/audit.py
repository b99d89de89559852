"""What administrators did: a log that is only ever added to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

DONE: Final = "done"
"""The outcome of an action that succeeded; of others it is their error's code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One action. ``id`` grows with time; it is the log's to give, and 0 before it did.

    ``details`` say what was asked for, and never hold a secret.
    """

    at: datetime
    key_id: str
    user_id: str
    action: str
    target: str = ""
    outcome: str = DONE
    details: Mapping[str, Any] = field(default_factory=dict)
    request_id: str = ""
    address: str = ""
    id: int = 0


class AuditLog(Protocol):
    """Where entries outlive a restart. Held to one contract suite; see ``tests/guards``."""

    async def append(self, entry: AuditEntry) -> None:
        """Add an entry. Raises ``StoreUnavailable``."""
        ...

    async def page(self, *, before: int | None, limit: int) -> list[AuditEntry]:
        """The newest ``limit`` entries with an id below ``before``, newest first.

        Raises ``StoreUnavailable``.
        """
        ...
