"""Tickets that one process issues and another takes."""

from __future__ import annotations

import hashlib

import msgspec

from guards.principal import Principal
from guards.redis.client import RedisHome
from guards.tickets import PER_KEY, mint, too_many, unknown


class RedisTickets:
    """:class:`~guards.tickets.Tickets` in Redis, where ``GETDEL`` takes one.

    Kept is a ticket's hash: who reads the store can't use what is in it.
    """

    def __init__(
        self,
        home: RedisHome,
        *,
        lifetime: float = 60.0,
        limit_per_key: int = PER_KEY,
    ) -> None:
        self._home = home
        self._lifetime = lifetime
        self._limit = limit_per_key
        self._script = home.script("ticket")

    @property
    def lifetime(self) -> float:
        return self._lifetime

    async def issue(self, principal: Principal) -> str:
        ticket = mint()
        hashed = _hash(ticket)
        lifetime = round(self._lifetime * 1000)
        full = await self._script(
            [self._held(principal.key_id)], [self._home.now, lifetime, self._limit, hashed]
        )
        if full:
            raise too_many(full / 1000)
        value = msgspec.json.encode(principal)
        key = self._key(ticket)
        await self._home.run(lambda: self._home.client.set(key, value, px=lifetime))
        return ticket

    async def take(self, ticket: str) -> Principal:
        key = self._key(ticket)
        value = await self._home.run(lambda: self._home.client.getdel(key))
        if value is None:
            raise unknown()
        principal = msgspec.json.decode(value, type=Principal)
        held = self._held(principal.key_id)
        await self._home.run(lambda: self._home.client.zrem(held, _hash(ticket)))
        return principal

    def _key(self, ticket: str) -> str:
        return self._home.key("ticket", _hash(ticket))

    def _held(self, key_id: str) -> str:
        return self._home.key("tickets", f"{{{key_id}}}")


def _hash(ticket: str) -> str:
    return hashlib.sha256(ticket.encode()).hexdigest()
