"""What a translation engine would mangle, put out of its way and back.

Small neural models break tags, addresses and symbols they have never seen. Each such span is
replaced by a numbered mark that engines copy (``[0]``), translated around, and restored. When a
mark is lost or doubled on the way, the text between the spans is translated piece by piece, which
reads worse but loses nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_TAG: Final = r"(?:</?[A-Za-z][^<>]*>|<!--.*?-->)"
_SPAN: Final = re.compile(
    rf"""
    {_TAG}(?:\s*{_TAG})*                    # tags that touch count as one
    | (?:https?|wss?|ftp)://[^\s<>"]*[^\s<>"'.,;:!?)\]]
    | www\.[^\s<>"]*[^\s<>"'.,;:!?)\]]
    | [\w.+-]+@[\w-]+(?:\.[\w-]+)+          # mail addresses
    | `[^`]+`
    | \{{+[^{{}}]*\}}+                      # template placeholders
    | &(?:\#\d+|\#x[0-9a-fA-F]+|[A-Za-z]+);
    | \[\d+\]                               # what looks like a mark of ours
    | [<>{{}}\\^~|×÷]+
    | [^\x00-\u024f\u1e00-\u1eff\u2000-\u206f\u20a0-\u20bf\s]+  # other scripts, emoji
    """,
    re.VERBOSE,
)
_MARK: Final = re.compile(r"( ?)\[(\d+)\]( ?)")
_LETTER: Final = re.compile(r"[^\W\d_]")


def translate_around(text: str, translate: Callable[[str], str]) -> str:
    """Translate a text, all but its markup, addresses and foreign symbols.

    ``translate`` gets texts with at least one letter.
    """
    spans = list(_SPAN.finditer(text))
    if not spans:
        return translate(text)
    if not _LETTER.search(_SPAN.sub("", text)):
        return text
    masked, padding = _mask(text, spans)
    restored = _restore(translate(masked), [span.group() for span in spans], padding)
    return _piecewise(text, spans, translate) if restored is None else restored


def _mask(text: str, spans: list[re.Match[str]]) -> tuple[str, list[tuple[bool, bool]]]:
    """The text with marks, and where a space was put before and after each.

    A word that touches a mark would be copied instead of translated.
    """
    parts: list[str] = []
    padding: list[tuple[bool, bool]] = []
    position = 0
    for number, span in enumerate(spans):
        before, after = text[span.start() - 1 : span.start()], text[span.end() : span.end() + 1]
        pad = before.isalnum(), after.isalnum()
        padding.append(pad)
        parts += (text[position : span.start()], " " * pad[0], f"[{number}]", " " * pad[1])
        position = span.end()
    return "".join(parts) + text[position:], padding


def _restore(text: str, spans: list[str], padding: list[tuple[bool, bool]]) -> str | None:
    """The translation with the spans back in place; None if a mark was lost, doubled or made up,
    or tags changed their order.
    """
    order = [int(mark.group(2)) for mark in _MARK.finditer(text)]
    tags = [number for number in order if number < len(spans) and spans[number].startswith("<")]
    if sorted(order) != list(range(len(spans))) or tags != sorted(tags):
        return None

    def back(mark: re.Match[str]) -> str:
        number = int(mark.group(2))
        before, after = padding[number]
        return ("" if before else mark.group(1)) + spans[number] + ("" if after else mark.group(3))

    return _MARK.sub(back, text)


def _piecewise(text: str, spans: list[re.Match[str]], translate: Callable[[str], str]) -> str:
    parts: list[str] = []
    position = 0
    for start, end in [*((span.start(), span.end()) for span in spans), (len(text), len(text))]:
        between = text[position:start]
        core = between.strip()
        if _LETTER.search(core):
            head = between.index(core)
            between = between[:head] + translate(core) + between[head + len(core) :]
        parts += (between, text[start:end])
        position = end
    return "".join(parts)
