from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.text import clean


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("Good morning.\r\n\tHow are you?", "Good morning.\r\n\tHow are you?"),
        ("a\x00b\x07c\x1b[31m", "abc[31m"),
        ("page one\x0cpage two\x0bline\x85end", "page one page two line end"),
        ("\ufeffBom dia", "Bom dia"),
        ("Sa\u0303o", "S\u00e3o"),
        ("\u1112\u1161\u11ab", "\ud55c"),
        ("<script>alert('&amp;')</script>", "<script>alert('&amp;')</script>"),
        ("\u202bעברית\u202c 👩\u200d👧", "\u202bעברית\u202c 👩\u200d👧"),
        ("a\uffffb\ufdd0", "ab"),
        ("", ""),
    ],
)
def test_what_stays_and_what_goes(text: str, cleaned: str) -> None:
    assert clean(text) == cleaned


@given(st.text())
def test_cleaned_text_is_clean(text: str) -> None:
    once = clean(text)
    assert clean(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not any(
        unicodedata.category(character) == "Cc" and character not in "\t\n\r" for character in once
    )
