"""Which engines lead from one language to another, the best way first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

Pair = tuple[str, str]
"""Source and target, as canonical codes."""

First = bool | frozenset[Pair]
"""For which pairs an engine comes before others: all, none, or these."""

PIVOT: Final = "en"
_MOST: Final = 8
"""Ways that are kept of a pair."""


class Routable(Protocol):
    """What is known of an engine. ``pairs`` may change."""

    @property
    def pairs(self) -> frozenset[Pair]: ...
    @property
    def remote(self) -> bool:
        """Whether it is somewhere else: without ``first``, for what nothing here does."""
        ...

    @property
    def first(self) -> First: ...


E = TypeVar("E", bound=Routable)


class Hop(NamedTuple, Generic[E]):
    """One engine's part."""

    engine: E
    source: str
    target: str


Plan = tuple[Hop[E], ...]
"""One hop, or two through English."""


class Router(Generic[E]):
    """Plans for pairs. Of engines that are equal otherwise, earlier ones come first.

    Engines here, and those elsewhere that are preferred for a pair, come before the others, even
    where they need two hops: what is said does not leave the house without need.
    """

    def __init__(self, engines: Sequence[E]) -> None:
        self._engines = tuple(engines)
        self.pairs: frozenset[Pair] = frozenset()
        """All there is a plan for."""
        self._plans: dict[Pair, tuple[Plan[E], ...]] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take what the engines do now."""
        direct = frozenset().union(*(engine.pairs for engine in self._engines))
        into = [source for source, target in direct if target == PIVOT]
        out_of = [target for source, target in direct if source == PIVOT]
        self.pairs = direct | {pair for pair in product(into, out_of) if pair[0] != pair[1]}
        self._plans.clear()

    def plans(self, source: str, target: str) -> tuple[Plan[E], ...]:
        """Ways from one language to another, the best first; none where there is none."""
        pair = source, target
        if pair not in self.pairs:
            return ()
        if pair not in self._plans:
            self._plans[pair] = self._make(pair)
        return self._plans[pair]

    def _make(self, pair: Pair) -> tuple[Plan[E], ...]:
        preferred = [one for one in self._engines if one.remote and _first(one, pair)]
        here = [one for one in self._engines if not one.remote]
        plans: dict[Plan[E], None] = {}
        for engines in ([*preferred, *here], [*preferred, *here, *self._engines]):
            plans |= dict.fromkeys((Hop(engine, *pair),) for engine in _able(engines, pair))
            if PIVOT not in pair:
                into = _able(engines, (pair[0], PIVOT))
                out_of = _able(engines, (PIVOT, pair[1]))
                for first, second in product(into, out_of):
                    plans[Hop(first, pair[0], PIVOT), Hop(second, PIVOT, pair[1])] = None
        return tuple(plans)[:_MOST]


def _first(engine: Routable, pair: Pair) -> bool:
    return engine.first if isinstance(engine.first, bool) else pair in engine.first


def _able(engines: Iterable[E], pair: Pair) -> list[E]:
    return [engine for engine in engines if pair in engine.pairs]
