from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from inference.routing import PIVOT, First, Pair, Router


@dataclass(eq=False)
class Engine:
    name: str
    pairs: frozenset[Pair]
    remote: bool = False
    first: First = False


def engine(name: str, *pairs: str, remote: bool = False, first: First = False) -> Engine:
    known = frozenset((pair[:2], pair[3:]) for pair in pairs)
    return Engine(name, known, remote, first)


def ways(router: Router[Engine], source: str, target: str) -> list[str]:
    return ["+".join(hop.engine.name for hop in plan) for plan in router.plans(source, target)]


def test_what_is_here_comes_first_even_in_two_hops() -> None:
    router = Router(
        [
            engine("far", "de-pt", "de-en", remote=True),
            engine("one", "de-en"),
            engine("two", "en-pt"),
        ]
    )
    assert ways(router, "de", "pt") == ["one+two", "far", "far+two"]
    assert ways(router, "de", "en") == ["one", "far"]


def test_an_engine_elsewhere_may_come_first_for_some_pairs() -> None:
    some = frozenset({("de", "en")})
    router = Router(
        [engine("here", "de-en", "en-de"), engine("far", "de-en", "en-de", remote=True, first=some)]
    )
    assert ways(router, "de", "en") == ["far", "here"]
    assert ways(router, "en", "de") == ["here", "far"]
    always = Router([engine("here", "de-en"), engine("far", "de-en", remote=True, first=True)])
    assert ways(always, "de", "en") == ["far", "here"]


def test_what_an_engine_learns_is_taken_on() -> None:
    far = engine("far", remote=True)
    router = Router([engine("here", "de-en"), far])
    assert ways(router, "de", "pt") == []
    far.pairs = frozenset({("en", "pt")})
    router.refresh()
    assert ways(router, "de", "pt") == ["here+far"]
    assert router.pairs == {("de", "en"), ("en", "pt"), ("de", "pt")}


CODES = st.sampled_from(["en", "pt", "de", "fr"])
PAIRS = st.frozensets(st.tuples(CODES, CODES).filter(lambda pair: pair[0] != pair[1]))
ENGINES = st.lists(
    st.builds(Engine, st.just("e"), PAIRS, st.booleans(), st.booleans()), min_size=1, max_size=4
)


@given(ENGINES)
def test_every_plan_leads_from_the_one_to_the_other(engines: list[Engine]) -> None:
    router = Router(engines)
    for source, target in router.pairs:
        plans = router.plans(source, target)
        assert plans
        assert len(set(plans)) == len(plans)
        for plan in plans:
            assert (plan[0].source, plan[-1].target) == (source, target)
            assert len(plan) == 1 or plan[0].target == plan[1].source == PIVOT
            assert all((hop.source, hop.target) in hop.engine.pairs for hop in plan)
    assert router.plans("fr", "xx") == ()
