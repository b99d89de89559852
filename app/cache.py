"""A small cache in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from inference.translator import CacheStats

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """Keeps the most recently used values up to a total weight. One event loop or thread only.

    ``weigh`` gives a value's weight in whatever unit ``capacity`` is; what alone is too heavy is
    not kept.
    """

    def __init__(self, capacity: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._held: OrderedDict[K, V] = OrderedDict()
        self._weight = 0
        self._hits = self._misses = 0

    @property
    def stats(self) -> CacheStats:
        """How often what was asked for was there, and how much there is."""
        return CacheStats(self._hits, self._misses, len(self._held))

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: K) -> V | None:
        value = self._held.get(key)
        if value is None:
            self._misses += 1
        else:
            self._hits += 1
            self._held.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        if key in self._held:
            self._weight -= self._weigh(self._held.pop(key))
        weight = self._weigh(value)
        if weight > self._capacity:
            return
        self._held[key] = value
        self._weight += weight
        while self._weight > self._capacity:
            _, old = self._held.popitem(last=False)
            self._weight -= self._weigh(old)

    def clear(self) -> None:
        self._held.clear()
        self._weight = 0
