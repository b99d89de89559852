"""Sliding windows that all processes share."""

from __future__ import annotations

from collections.abc import Sequence

from guards.redis.client import RedisHome
from guards.windows import Count, Decision, Window, standing


class RedisWindows:
    """:class:`~guards.windows.Windows` in Redis, by its own clock: the processes' may differ."""

    def __init__(self, home: RedisHome) -> None:
        self._home = home
        self._script = home.script("windows")

    async def admit(self, subject: str, windows: Sequence[Window], cost: int = 1) -> Decision:
        arguments: list[str | float] = [self._home.now, cost]
        for window in windows:
            arguments += [window.name, window.limit, window.seconds * 1000]
        admitted, *figures = await self._script([self._key(subject)], arguments)
        standings = []
        for window, at in zip(windows, range(0, len(figures), 3), strict=True):
            into, current, previous = figures[at : at + 3]
            standings.append(standing(Count(0, current, previous), into / 1000, window, cost))
        return Decision(bool(admitted), tuple(standings))

    async def clear(self, subject: str) -> None:
        await self._home.run(lambda: self._home.client.delete(self._key(subject)))

    def _key(self, subject: str) -> str:
        return self._home.key("windows", f"{{{subject}}}")
