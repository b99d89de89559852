"""Metering: what is used is booked while it is used, and ends at the quota.

A stream reserves audio in chunks and gives back what it did not use, so that what is booked is
never further from the truth than one chunk, even after a crash. A request reserves all it needs
before any work is done, and gives it back when the work fails.

While the shared store is away, charges are kept in the journal (a file) and booked when it is
back. Each has an id, so that one whose answer was lost is not booked twice. Quotas are then held
to what this process last knew.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import date
from itertools import islice
from typing import Final, Protocol

import structlog

from guards.errors import QuotaExceeded, StoreUnavailable
from guards.principal import Principal
from guards.tiers import Limits
from guards.usage import (
    UNBOUNDED,
    Amount,
    Charge,
    Quota,
    Receipt,
    UsageStore,
    grant,
    today,
    until_tomorrow,
)

log = structlog.get_logger(__name__)

SETTLE_SECONDS: Final = 1.0
"""How often it is tried to book what the journal holds."""

_BATCH: Final = 100
_REMEMBERED: Final = 10_000


class Journal(Protocol):
    """Charges that wait for the shared store."""

    async def append(self, charge: Charge) -> None:
        """Keep a charge. Idempotent."""
        ...

    async def oldest(self, limit: int) -> list[Charge]:
        """The first charges that were kept, at most so many."""
        ...

    async def discard(self, ids: Iterable[str]) -> None:
        """Forget charges that are booked."""
        ...

    async def size(self) -> int:
        """How many charges are kept."""
        ...


class MemoryJournal:
    """:class:`Journal` in memory, for a file that can't be written for a while."""

    def __init__(self) -> None:
        self._charges: dict[str, Charge] = {}

    async def append(self, charge: Charge) -> None:
        self._charges.setdefault(charge.id, charge)

    async def oldest(self, limit: int) -> list[Charge]:
        return list(islice(self._charges.values(), limit))

    async def discard(self, ids: Iterable[str]) -> None:
        for gone in ids:
            del self._charges[gone]

    async def size(self) -> int:
        return len(self._charges)


class Metering:
    """Books usage. ``clock`` gives seconds since the epoch.

    With ``closed``, a store that is away is an error for everything new. What runs goes on.
    """

    def __init__(
        self,
        usage: UsageStore,
        journal: Journal,
        *,
        closed: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.usage = usage
        self.clock = clock
        self.backlog = 0
        """Charges that wait for the store, as it was last seen."""
        self._journal = journal
        self._closed = closed
        self._known: OrderedDict[tuple[str, date], Amount] = OrderedDict()

    async def require_quota(self, principal: Principal, limits: Limits) -> None:
        """Raise ``QuotaExceeded`` when a key has no audio left today."""
        day = today(self.clock())
        try:
            used = await self.usage.total(principal.key_id, day)
        except StoreUnavailable:
            if self._closed:
                raise
            used = self._known.get((principal.key_id, day), Amount())
        if used.audio_ms >= limits.audio_minutes_per_day * 60_000:
            raise self.exceeded("audio", limits)

    @asynccontextmanager
    async def request(
        self, principal: Principal, limits: Limits, amount: Amount
    ) -> AsyncIterator[None]:
        """Book what a request needs before its work; give it back if the work fails.

        Raises ``QuotaExceeded`` when there is not enough left, and ``StoreUnavailable``.
        """
        charge = self.charge(principal, replace(amount, requests=1))
        receipt = await self.book(charge, limits.quota, running=False)
        if not receipt.granted:
            raise self.exceeded("audio" if amount.audio_ms else "characters", limits)
        try:
            yield
        except BaseException:
            refund = self.charge(principal, Amount() - charge.amount, day=charge.day)
            await asyncio.shield(self._give_back(refund))
            raise

    async def _give_back(self, refund: Charge) -> None:
        try:
            await self.book(refund, running=True)
        except StoreUnavailable:
            log.warning("usage not given back", key_id=refund.key_id, exc_info=True)

    def charge(self, principal: Principal, amount: Amount, *, day: date | None = None) -> Charge:
        """A charge on a key's day, today by default."""
        return Charge(principal.key_id, principal.user_id, day or today(self.clock()), amount)

    async def book(
        self, charge: Charge, quota: Quota = UNBOUNDED, *, whole: bool = True, running: bool
    ) -> Receipt:
        """Book a charge, or keep it while the store is away.

        ``running`` says whether it is for something that goes on in any case. Raises
        ``StoreUnavailable``.
        """
        try:
            receipt = await self.usage.book(charge, quota, whole=whole)
        except StoreUnavailable:
            if self._closed and not running:
                raise
            receipt = await self._keep(charge, quota, whole=whole)
        self._remember(charge, receipt.total)
        return receipt

    async def _keep(self, charge: Charge, quota: Quota, *, whole: bool) -> Receipt:
        used = self._known.get((charge.key_id, charge.day), Amount())
        granted = grant(charge.amount, used, quota, whole=whole)
        if granted:
            await self._journal.append(replace(charge, amount=granted))
        return Receipt(granted, used + granted)

    def _remember(self, charge: Charge, total: Amount) -> None:
        key = (charge.key_id, charge.day)
        self._known[key] = total
        self._known.move_to_end(key)
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)

    def exceeded(self, what: str, limits: Limits) -> QuotaExceeded:
        """The error for a quota that is used up. ``what`` is ``audio`` or ``characters``."""
        limit = {
            "audio": f"{limits.audio_minutes_per_day} minutes of audio",
            "characters": f"{limits.characters_per_day} characters",
        }[what]
        return QuotaExceeded(
            f"The day's {limit} are used up, or too little of them is left; they are renewed at "
            "midnight UTC.",
            retry_after=until_tomorrow(self.clock()),
            quota=what,
        )

    async def run(self) -> None:
        """Book what the journal holds, for ever."""
        while True:
            await asyncio.sleep(SETTLE_SECONDS)
            try:
                await self.settle()
            except StoreUnavailable:
                log.debug("charges wait for the store")
            with contextlib.suppress(StoreUnavailable):
                self.backlog = await self._journal.size()

    async def settle(self) -> int:
        """Book what the journal holds; how many charges that were. Raises ``StoreUnavailable``."""
        settled = 0
        while charges := await self._journal.oldest(_BATCH):
            for charge in charges:
                receipt = await self.usage.book(charge)
                rest = charge.amount - receipt.granted
                if rest:
                    # Its first answer was lost, and less had been granted than was then used.
                    await self.usage.book(replace(charge, id=f"{charge.id}:rest", amount=rest))
            await self._journal.discard(charge.id for charge in charges)
            settled += len(charges)
        if settled:
            log.info("charges booked that waited for the store", charges=settled)
        return settled
