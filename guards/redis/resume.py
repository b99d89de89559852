"""Sessions that any process can go on with."""

from __future__ import annotations

from guards.redis.client import RedisHome
from guards.resume import Kept, Update


class RedisResumeLog:
    """:class:`~guards.resume.ResumeLog` in Redis: a hash and a list of events for each session."""

    def __init__(self, home: RedisHome) -> None:
        self._home = home
        self._append = home.script("resume_append")
        self._claim = home.script("resume_claim")

    async def append(self, update: Update) -> bool:
        arguments: list[str | float | bytes] = [
            update.epoch,
            update.owner,
            round(update.ttl * 1000),
            update.first,
            update.next,
            update.state,
            *update.events,
        ]
        return bool(await self._append(self._keys(update.name), arguments))

    async def claim(self, name: str, owner: str, ttl: float) -> Kept | None:
        answer = await self._claim(self._keys(name), [owner, round(ttl * 1000)])
        if not answer:
            return None
        epoch, last, state, *events = answer
        return Kept(epoch, state, last, list(enumerate(events, last - len(events) + 1)))

    def _keys(self, name: str) -> list[str]:
        return [self._home.key("resume", f"{{{name}}}"), self._home.key("events", f"{{{name}}}")]
