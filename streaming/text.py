"""Text from clients, as it is worked on."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_CONTROL: Final = re.compile(
    "["
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f"  # C0 and C1 but for tab and line ends
    "\ufeff\ufdd0-\ufdef\ufffe\uffff"  # the byte order mark, and what are no characters
    "]"
)


def clean(text: str) -> str:
    """The text without control characters, composed (NFC). Everything else stays, HTML too.

    Control characters that separate words become a space. Idempotent.
    """
    text = _CONTROL.sub(lambda found: " " if found.group().isspace() else "", text)
    return unicodedata.normalize("NFC", text)
