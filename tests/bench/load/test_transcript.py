from __future__ import annotations

from bench.load.transcript import Run, Transcript, settled
from bench.metrics import Shown


def test_a_text_counts_when_it_changes() -> None:
    seen = Transcript()
    for time in (1.0, 1.1, 1.2):
        seen.show(time, 0, "Good", " mor")
    seen.show(1.3, 0, "Good morning", "")
    assert [shown.time for shown in seen.shown] == [1.0, 1.3]
    assert seen.changed == 1.3


def test_a_final_is_shown_and_kept() -> None:
    seen = Transcript()
    seen.show(1.0, 0, "", "Good mourning")
    seen.finish(2.0, 0, "Good morning.", whole=True)
    seen.finish(2.5, 0, "Good morning.", whole=True)
    assert seen.shown[-1] == Shown(2.0, 0, "Good morning.", "", final=True)
    assert [shown.time for shown in seen.finals] == [2.0]


def test_nothing_is_no_change() -> None:
    seen = Transcript()
    seen.show(1.0, 0, "", "")
    seen.finish(1.0, 0, "", whole=False)
    assert (seen.shown, seen.finals, seen.changed, seen.text) == ([], [], 0.0, "")


def test_the_text_is_in_the_order_of_the_segments() -> None:
    seen = Transcript()
    seen.finish(1.0, 1, " world ", whole=True)
    seen.finish(2.0, 0, "Hello", whole=True)
    assert seen.text == "Hello world"


def test_words_settle_when_they_are_last_changed() -> None:
    finals = [
        Shown(1.0, 0, "one two", ""),
        Shown(2.0, 0, "one two three", ""),
        Shown(3.0, 0, "one too three", ""),
        Shown(2.5, 1, "four", ""),
    ]
    assert settled(finals) == [Run(1.0, "one"), Run(3.0, "too three"), Run(2.5, "four")]
