"""Interim translation with the embedded engine: what a viewer reads while someone speaks."""

from __future__ import annotations

import asyncio

import pytest

from bench.interim_translation import VARIANTS, Outcome, Texts, chrf, lags, measure
from bench.metrics import Shown

SPOKEN = """
Good evening, everyone. Thank you all for coming out on such a cold night. We have a lot to talk \
about, so let us begin with the good news.
The library on the corner has been open for more than a hundred years. It was built by people who \
wanted their children to read, and the children still come every afternoon.
I do not know whether the train will arrive on time, because there was snow in the north this \
morning.
When she opened the old wooden box, she found a letter that her grandmother had written during \
the war. Nobody had ever seen it.
"""
KEPT = next(variant for variant in VARIANTS if variant.name.startswith("**"))
UNSTEADIED = next(variant for variant in VARIANTS if variant.name == "by sentence, as it comes")


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Outcome]:
    texts = Texts("test", "en", "pt", tuple(SPOKEN.strip().splitlines()))
    return {one.name: one for one in asyncio.run(measure([texts], [KEPT, UNSTEADIED]))}


def test_translations_hardly_flicker(outcomes: dict[str, Outcome]) -> None:
    kept, unsteadied = outcomes[KEPT.name], outcomes[UNSTEADIED.name]
    assert kept.erased <= 0.3 * kept.final_words < unsteadied.erased
    assert kept.stable_erased == unsteadied.stable_erased == 0


def test_finals_are_as_good_as_if_nothing_had_been_shown(
    outcomes: dict[str, Outcome],
) -> None:
    assert [outcome.similarity for outcome in outcomes.values()] == [100.0, 100.0]


def test_translations_come_while_the_sentence_is_spoken(
    outcomes: dict[str, Outcome],
) -> None:
    assert outcomes[KEPT.name].shown_lag < 4  # words; finals alone are half a segment late


def test_chrf() -> None:
    assert chrf([("bom dia", "bom dia")]) == 100.0
    assert chrf([("xyz", "bom dia")]) == 0.0
    assert 30 < chrf([("bom dia a todos", "boa tarde a todos")]) < 70


def test_lags_are_counted_in_words_of_the_source() -> None:
    history = [
        Shown(1, 0, "", "a"),
        Shown(2, 0, "", "b b"),
        Shown(4, 0, "a b c d", "", final=True),
    ]
    assert list(lags(4, history)) == [(0, 3), (0, 2), (1, 1), (0, 0)]
