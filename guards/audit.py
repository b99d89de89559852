"""What administrators did: a log that is only ever added to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol

from streaming.errors import InternalError, SurtitleError

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


Append = Callable[[AuditEntry], Awaitable[None]]


@dataclass(slots=True)
class Action:
    """An action under way. Who carries it out may fill in what it is about."""

    target: str


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


@asynccontextmanager
async def recorded(append: Append, entry: AuditEntry) -> AsyncIterator[Action]:
    """Write down what the block does: ``done``, or the code of the error it raised.

    Raises ``StoreUnavailable`` when it can't be written; the action may have been carried out.
    """
    action = Action(entry.target)
    try:
        yield action
    except SurtitleError as error:
        entry = replace(entry, outcome=error.code)
        raise
    except BaseException:
        entry = replace(entry, outcome=InternalError.code)
        raise
    finally:
        await append(replace(entry, target=action.target))
