"""The planner of translations alone: any growth of the source, any order of results."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.sentences import sentences
from streaming.errors import Overloaded, SurtitleError, TranslationFailed
from streaming.types import Hypothesis, Priority, Translation
from tests.streaming.desk import Desk, translated
from tests.streaming.harness import FakeLanguages

# ---------------------------------------------------------------- one open segment


def test_a_complete_sentence_is_translated_once_and_stays() -> None:
    desk = Desk()
    desk.interim("One two three. Four five")
    (job,) = desk.jobs
    assert (job.text, job.priority) == ("One two three.", Priority.FINAL)
    desk.answer()
    assert (desk.last.stable, desk.last.unstable) == ("Oneo twoo three.o", "")
    desk.interim("One two three. Four five six. Seven")
    desk.answer_all()
    assert desk.last.stable == "Oneo twoo three.o Fouro fiveo six.o"
    desk.final("One two three. Four five six. Seven eight.")
    desk.answer_all()
    assert desk.last.final
    assert desk.last.text == "Oneo twoo three.o Fouro fiveo six.o Seveno eight.o"
    assert desk.texts == ["One two three.", "Four five six.", "Seven eight."]
    assert not desk.planner.pending


def test_the_open_sentence_is_asked_for_when_it_grew_and_one_at_a_time() -> None:
    desk = Desk()
    desk.interim("One two")
    assert desk.jobs == []  # too little to translate
    desk.interim("One two three")
    desk.interim("One two three", " four")
    desk.interim("One two three four")
    desk.interim("One two three four five")
    assert desk.texts == ["One two three"]
    desk.answer()
    assert desk.texts == [
        "One two three",
        "One two three four five",
    ]  # what came between is skipped
    desk.answer()
    assert desk.jobs == []
    assert desk.last.unstable == "Oneo twoo threeo"
    assert desk.last.stable == ""
    desk.interim("One two three four five six")
    assert desk.jobs[0].prefix == "Oneo twoo threeo"


def test_a_failed_interim_is_made_good_by_the_next() -> None:
    desk = Desk()
    desk.interim("One two three")
    desk.fail(Overloaded("full", retry_after=1.0))
    assert (desk.jobs, desk.errors) == ([], [])
    desk.interim("One two three four")
    assert [job.text for job in desk.jobs] == ["One two three four"]


def test_results_out_of_order_are_put_in_order() -> None:
    desk = Desk()
    desk.interim("One two three. Four five six. Seven eight nine")
    first, second, third = desk.jobs
    assert third.priority is Priority.PARTIAL
    desk.answer(1)
    assert desk.events == []  # nothing to show before it
    desk.answer(0)
    assert desk.last.stable == "Oneo twoo three.o Fouro fiveo six.o"
    assert [first.revision, second.revision, third.revision] == [1, 2, 3]


def test_a_late_interim_of_a_sentence_that_is_over_changes_nothing() -> None:
    desk = Desk()
    desk.interim("One two three")
    desk.interim("One two three four. Five six seven")
    late, whole = desk.jobs
    assert whole.text == "One two three four."
    assert (late.priority, whole.priority) == (Priority.PARTIAL, Priority.FINAL)
    desk.answer(1)
    shown = len(desk.events)
    desk.answer(0, "something else altogether")
    assert len(desk.events) == shown
    assert desk.asked[-1].text == "Five six seven"  # it waited for the one in flight


def test_a_sentence_that_failed_is_tried_again_with_the_final() -> None:
    desk = Desk()
    desk.interim("One two three. Four")
    desk.fail(TranslationFailed("once"))
    desk.fail(TranslationFailed("twice"))
    desk.interim("One two three. Four five")
    assert (desk.jobs, desk.errors) == ([], [])
    desk.final("One two three. Four five.")
    assert [job.text for job in desk.jobs] == ["One two three.", "Four five."]
    desk.answer_all()
    assert desk.last.final
    assert desk.errors == []


def test_a_final_that_cannot_be_had_is_told_once() -> None:
    desk = Desk()
    desk.final("One two three. Four five six.")
    desk.fail(TranslationFailed("once"))
    desk.fail(TranslationFailed("once"))
    assert desk.errors == []
    desk.fail(TranslationFailed("twice"))
    assert [error.details for error in desk.errors] == [{"segment": 0, "target": "pt"}]
    desk.fail(TranslationFailed("twice"))
    assert len(desk.errors) == 1
    assert desk.events == []
    assert not desk.planner.pending


# ---------------------------------------------------------------- what changes under way


def test_a_target_added_under_way_gets_the_whole_segment() -> None:
    desk = Desk(targets=())
    desk.interim("One two three. Four five six")
    assert desk.jobs == []
    desk.planner.targets = ("pt",)
    desk.interim("One two three. Four five six seven")
    desk.final("One two three. Four five six seven.")
    desk.answer_all()
    assert desk.last.text == "Oneo twoo three.o Fouro fiveo sixo seven.o"


def test_a_target_taken_away_has_nothing_more_to_come() -> None:
    desk = Desk(targets=("pt", "en"))
    desk.interim("One two three. Four five")
    desk.answer_all()
    desk.planner.targets = ("en",)
    desk.final("One two three. Four five.")
    desk.answer_all()
    assert [event.target for event in desk.events if event.final] == ["en"]
    assert not desk.planner.pending


def test_identity_shows_the_caption_itself() -> None:
    desk = Desk(targets=("en",))
    desk.interim("One", " two")
    assert (desk.last.stable, desk.last.unstable) == ("One", " two")
    desk.interim("One", " two")
    assert len(desk.events) == 1
    desk.final("One two.")
    assert (desk.last.text, desk.last.final) == ("One two.", True)


@pytest.mark.parametrize("language", ["en", "pt", "de"])
def test_what_was_promised_outlives_a_change_of_language(language: str) -> None:
    desk = Desk()
    desk.interim("One two three. Four five")
    desk.answer_all()
    promised = "Oneo twoo three.o"
    desk.final("Uno dos tres. Quatro.", language)
    while desk.spoken:
        heard = Hypothesis(text="Un do tre. Quattro.", language="en")
        desk.planner.receive_spoken(desk.spoken.pop(), heard)
        desk.pump()
    desk.answer_all()
    assert desk.last.final
    assert desk.last.text.startswith(promised)
    assert desk.last.text.removeprefix(promised).strip().startswith("Qua")


def test_a_sentence_that_is_not_over_after_all_is_translated_again() -> None:
    desk = Desk()
    desk.interim("One two three. Four")
    desk.answer_all()
    desk.interim("One two three.")
    desk.final("One two three.com five.")
    desk.answer_all()
    assert desk.texts == ["One two three.", "One two three.com five."]
    assert desk.last.text == "Oneo twoo three.o five.o"  # "three." was promised


def test_what_a_changed_source_superseded_is_not_tried_again() -> None:
    desk = Desk()
    desk.interim("One two three. Four")
    desk.final("Four five six.")
    desk.fail(TranslationFailed("once"))
    assert [job.text for job in desk.jobs] == ["Four five six."]
    desk.answer_all()
    assert (desk.last.text, desk.errors) == ("Fouro fiveo six.o", [])


def test_a_segment_that_came_to_nothing_ends_with_what_was_promised() -> None:
    desk = Desk()
    desk.interim("One two three. Four five")
    desk.answer_all()
    desk.final("")
    assert (desk.last.text, desk.last.final) == ("Oneo twoo three.o", True)
    desk.final("", segment=1)
    assert len(desk.events) == 2


# ---------------------------------------------------------------- anything

WORDS = st.lists(
    st.sampled_from(["one", "two", "Three", "four.", "Five", "six?", "seven", "eight!", "e.g."]),
    min_size=1,
    max_size=14,
)
FAILURES: st.SearchStrategy[SurtitleError] = st.sampled_from(
    [TranslationFailed("no"), Overloaded("full")]
)
JUNK = st.lists(st.sampled_from(["so", "twoo", "oneo", "uh"]), max_size=3)


def assert_honest(desk: Desk) -> None:
    """Stable text only grows, a final contains it, and nothing comes after a final."""
    stable: dict[tuple[int, str], str] = {}
    over: set[tuple[int, str]] = set()
    for event in desk.events:
        key = event.segment, event.target
        assert key not in over
        assert event.text.startswith(stable.get(key, ""))
        if event.final:
            over.add(key)
            continue
        assert isinstance(event.stable, str)
        assert isinstance(event.unstable, str)
        assert event.text == event.stable + event.unstable
        assert event.stable.startswith(stable.get(key, ""))
        stable[key] = event.stable


def assert_one_interim_in_flight(desk: Desk) -> None:
    flying = Counter(
        (job.segment, job.target) for job in desk.jobs if job.priority is Priority.PARTIAL
    )
    assert max(flying.values(), default=0) <= 1


def answer_some(desk: Desk, data: st.DataObject, *, everything: bool = False) -> None:
    """Answer jobs in any order; interim translations end in anything at all."""
    while desk.jobs and (everything or data.draw(st.booleans())):
        number = data.draw(st.integers(0, len(desk.jobs) - 1))
        job = desk.jobs[number]
        text = translated(job.text)
        if job.priority is Priority.PARTIAL:
            kept = data.draw(st.integers(0, len(text.split())))
            text = " ".join([*text.split()[:kept], *data.draw(JUNK)])
        desk.answer(number, text)
        assert_one_interim_in_flight(desk)


def grow(desk: Desk, data: st.DataObject, words: list[str], language: str = "en") -> None:
    stable = heard = 0
    while heard < len(words) and data.draw(st.booleans()):
        heard = data.draw(st.integers(heard, len(words)))
        stable = data.draw(st.integers(stable, heard))
        rest = "".join(f" {word}" for word in words[stable:heard])
        text = " ".join(words[:stable])
        desk.interim(text, rest if text else rest.lstrip(), language)
        answer_some(desk, data)


@given(data=st.data(), words=WORDS)
@settings(max_examples=200, deadline=None)
def test_finals_are_the_sentences_of_the_source(data: st.DataObject, words: list[str]) -> None:
    desk = Desk(targets=("pt", "en"))
    grow(desk, data, words)
    text = " ".join(words)
    desk.final(text)
    answer_some(desk, data, everything=True)
    assert_honest(desk)
    assert {(event.target, event.text) for event in desk.events if event.final} == {
        ("en", text),
        ("pt", translated(text)),
    }
    assert not desk.planner.pending
    # Each sentence was translated once, whenever it was complete.
    assert " ".join(job.text for job in desk.asked if job.priority is Priority.FINAL) == text


@given(data=st.data(), first=WORDS, second=WORDS)
@settings(max_examples=300, deadline=None)
def test_whatever_changes_each_target_ends_once(
    data: st.DataObject, first: list[str], second: list[str]
) -> None:
    """Targets, the language and even the source change, and translations fail."""
    targets = st.sampled_from([("pt",), ("en",), ("pt", "en"), ("en", "pt", "xx"), ()])
    languages = st.sampled_from(["en", "pt", "de"])
    desk = Desk(targets=data.draw(targets))
    for words in (first, second):
        grow(desk, data, words, data.draw(languages))
        for _ in range(data.draw(st.integers(0, len(desk.jobs)))):
            number = data.draw(st.integers(0, len(desk.jobs) - 1))
            desk.fail(data.draw(FAILURES), number)
        desk.planner.targets = data.draw(targets)
    language = data.draw(languages)
    desk.final(" ".join(second), language)
    due = {
        target
        for target in desk.planner.targets
        if FakeLanguages().speech_route(language, target) is not None
    }
    while desk.jobs or desk.spoken:
        while desk.spoken:
            heard = Hypothesis(text="Un do. Tre.", language="en")
            desk.planner.receive_spoken(desk.spoken.pop(), heard)
            desk.pump()
        if desk.jobs and data.draw(st.integers(0, 3)) == 0:
            desk.fail(TranslationFailed("no"))
        elif desk.jobs:
            desk.answer(data.draw(st.integers(0, len(desk.jobs) - 1)))
    assert_honest(desk)
    ends = [event.target for event in desk.events if event.final]
    ends += [str(error.details["target"]) for error in desk.errors]
    assert sorted(ends) == sorted(due)
    assert not desk.planner.pending


def test_the_splitter_of_these_tests_is_the_real_one() -> None:
    assert sentences("One two. Three", "en") == ["One two. ", "Three"]


# ------------------------------------------------------------ outages


def stand_in(desk: Desk, outage: int) -> None:
    """A final that is translated while an outage of this number lasts; none is 0."""
    desk.final("Hello.", segment=len(desk.asked))
    job = desk.jobs.pop()
    desk.planner.receive(job, Translation("Olá.", "other" if outage else "fake", outage))
    desk.pump()


def test_another_engine_than_usual_is_told_once_in_each_outage() -> None:
    desk = Desk()
    for outage in (0, 1, 1, 0, 1, 2, 2):
        stand_in(desk, outage)
    assert [warning.code for warning in desk.warnings] == ["translator_fallback"] * 2
    assert desk.warnings[0].details == {"source": "en", "target": "pt", "engine": "other"}
    assert len(desk.events) == 7


def spare() -> Desk:
    return Desk(targets=("en",), languages=FakeLanguages(spare=True))


def fail_all(desk: Desk) -> None:
    while desk.jobs:
        desk.planner.receive_failure(desk.jobs.pop(), TranslationFailed("down"))
        desk.pump()


def hear(desk: Desk, text: str) -> None:
    desk.planner.receive_spoken(desk.spoken.pop(0), Hypothesis(text, "pt"))
    desk.pump()


def test_what_text_engines_fail_at_is_translated_from_the_audio() -> None:
    desk = spare()
    for segment, text in enumerate(("Bom dia. Tudo bem?", "Adeus.")):
        desk.final(text, "pt", segment)
        fail_all(desk)
        assert [job.segment for job in desk.spoken] == [segment]
        assert desk.planner.pending
        hear(desk, f"English {segment}.")
    assert [event.text for event in desk.events if event.final] == ["English 0.", "English 1."]
    assert desk.errors == []
    assert [warning.details["engine"] for warning in desk.warnings] == ["whisper"]
    assert not desk.planner.pending
    assert desk.planner._audio == {}


def test_while_no_text_engine_answers_the_audio_is_translated_at_once() -> None:
    desk = spare()
    desk.languages.text_down = True
    for segment in range(2):
        desk.final("Bom dia.", "pt", segment)
        assert desk.jobs == []
        hear(desk, "Good morning.")
    assert len(desk.warnings) == 1
    desk.languages.text_down = False
    desk.final("Bom dia.", "pt", 2)
    desk.answer()
    desk.languages.text_down = True  # another outage
    desk.final("Bom dia.", "pt", 3)
    hear(desk, "Good morning.")
    assert len(desk.warnings) == 2
    assert [event.final for event in desk.events] == [True] * 4


def test_when_the_audio_cannot_be_translated_either_it_is_said() -> None:
    desk = spare()
    desk.final("Bom dia.", "pt")
    fail_all(desk)
    for _ in range(2):
        desk.planner.receive_spoken_failure(desk.spoken.pop(), TranslationFailed("down, too"))
        desk.pump()
    assert [error.code for error in desk.errors] == ["translation_failed"]
    assert not desk.planner.pending
    assert desk.planner._audio == {}


def test_without_such_a_way_it_is_said_as_before() -> None:
    desk = Desk()
    desk.final("Hello.")
    fail_all(desk)
    assert [error.code for error in desk.errors] == ["translation_failed"]
    assert desk.spoken == []
    assert desk.planner._audio == {}
