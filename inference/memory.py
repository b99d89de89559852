"""The sentences translated last."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from inference.engine import Sentence


@dataclass(frozen=True, slots=True)
class CacheStats:
    """Sentences asked for since the start that were, or were not, in memory; and those in it."""

    hits: int
    misses: int
    size: int


class SentenceMemory:
    """The last sentences translated (least recently used go first). Used on the loop only."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: OrderedDict[tuple[str, Sentence], str] = OrderedDict()
        self._hits = self._misses = 0

    def get(self, version: str, sentence: Sentence) -> str | None:
        key = version, sentence
        text = self._known.get(key)
        if text is None:
            self._misses += 1
        else:
            self._hits += 1
            self._known.move_to_end(key)
        return text

    def put(self, version: str, sentence: Sentence, text: str) -> None:
        key = version, sentence
        self._known[key] = text
        self._known.move_to_end(key)
        while len(self._known) > self._capacity:
            self._known.popitem(last=False)

    def clear(self) -> None:
        self._known.clear()

    @property
    def stats(self) -> CacheStats:
        return CacheStats(self._hits, self._misses, len(self._known))
