from __future__ import annotations

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sentences import Segment
from app.subtitles import LINE_CHARS, MAX_SECONDS, cues, render, wrap

TALK = (
    "This is a long sentence, and it says a great many things that nobody wants to read; "
    "but there it is, and it goes on and on until the speaker has no breath left at all."
)


def check(segments: list[Segment]) -> list[tuple[int, int, str]]:
    found = cues(segments)
    followers = [start for start, _, _ in found[1:]] + [10**9]
    for (start, end, text), following in zip(found, followers, strict=False):
        assert start < end <= max(following, start + 1)
        assert end - start <= MAX_SECONDS * 1000
        assert text.strip()
        assert text.count("\n") <= 1
        assert all(len(line) <= LINE_CHARS for line in text.split("\n"))
    return found


def test_a_long_sentence_becomes_readable_cues() -> None:
    found = check([Segment(0.0, 14.0, TALK)])
    assert " ".join(text.replace("\n", " ") for _, _, text in found) == TALK
    assert found[0][0] == 0
    assert found[-1][1] == 14_000


def test_lines_are_of_even_length() -> None:
    assert wrap("short") == "short"
    first, second = wrap("a sentence that is a little longer than one line is").split("\n")
    assert abs(len(first) - len(second)) < 12


def test_a_short_cue_stays_if_there_is_time_and_nothing_overlaps() -> None:
    found = check([Segment(1.0, 1.1, "Yes."), Segment(1.3, 1.4, "No."), Segment(9.0, 9.1, "Oh.")])
    assert [(start, end) for start, end, _ in found] == [(1000, 1300), (1300, 2100), (9000, 9800)]


def test_nothing_empty() -> None:
    assert cues([Segment(0, 1, ""), Segment(1, 2, "  ")]) == []
    assert render([], "vtt").startswith("WEBVTT")


@pytest.mark.parametrize("text", ["これは本です。" * 20, "x" * 300, "word " * 100])
def test_any_writing_fits(text: str) -> None:
    check([Segment(0.0, 30.0, text)])


@given(
    st.lists(
        st.tuples(
            st.floats(0, 5), st.floats(0, 20), st.text(st.characters(categories=["L", "P", "Zs"]))
        ),
        max_size=8,
    )
)
def test_any_segments_make_valid_cues(parts: list[tuple[float, float, str]]) -> None:
    at = 0.0
    segments = []
    for gap, length, text in parts:
        segments.append(Segment(at + gap, at + gap + length, text))
        at += gap + length + 0.01 * len(text)
    check(segments)


def test_both_files_are_read_back_by_a_reader() -> None:
    segments = [Segment(0.5, 2.0, "One & two <three>."), Segment(2.5, 4.0, "Four.")]
    srt = pysubs2.SSAFile.from_string(render(segments, "srt"), format_="srt")
    assert [(cue.start, cue.end) for cue in srt] == [(500, 2000), (2500, 4000)]
    vtt = render(segments, "vtt")
    assert "One &amp; two &lt;three&gt;." in vtt
    assert "00:00:02.500 --> 00:00:04.000" in vtt


def test_text_is_never_taken_for_markup() -> None:
    text = r"a {b\i1} --> c \N d"
    for cue in render([Segment(0, 3, text)], "srt").splitlines()[2:3]:
        assert cue == "a (b/i1) → c /N d"
    assert render([Segment(0, 3, text)], "vtt").count("-->") == 1
