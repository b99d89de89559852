"""Keeps the translation of a sentence still while the sentence is being spoken.

Each time more of a sentence is heard it is translated again from its start, and a translator that
hears more often chooses other words. What is shown of these translations:

- what two successive ones agree on from the left, as recognition is steadied (LocalAgreement,
  :mod:`streaming.stabilizer`);
- what is shown stays until four agreements in a row contradict it: most contradictions are taken
  back within a word or two.

docs/benchmarks/interim-translation.md compares this with the other ways known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from streaming.stabilizer import align, units

_PATIENCE: Final = 4
_NO_SPACES: Final = frozenset({"zh", "ja", "yue", "wuu"})


class Steadier(Protocol):
    """What is shown of one open sentence's successive translations."""

    @property
    def shown(self) -> str: ...

    def update(self, text: str) -> None:
        """Take a newer translation of all that was heard of the sentence."""
        ...


class Agreement:
    """Shows what translations agree on, and is slow to take it back: a :class:`Steadier`.

    ``patience`` is how many agreements in a row must contradict what is shown to replace it.
    """

    __slots__ = ("_contradictions", "_patience", "_previous", "_shown")

    def __init__(self, patience: int = _PATIENCE) -> None:
        self._patience = patience
        self._shown: list[str] = []
        self._previous: list[str] = []
        self._contradictions = 0

    @property
    def shown(self) -> str:
        return "".join(self._shown)

    def update(self, text: str) -> None:
        """Take a newer translation of all that was heard of the sentence."""
        heard = units(text)
        agreed = heard[: _common(self._previous, heard)]
        self._previous = heard
        same = _common(self._shown, agreed)
        if same == len(self._shown):
            self._shown, self._contradictions = agreed, 0
        elif same < len(agreed):  # agreement on less alone contradicts nothing
            self._contradictions += 1
            if self._contradictions >= self._patience:
                self._shown, self._contradictions = agreed, 0


def joint(gap: str, target: str) -> str:
    """What stands between two translated sentences whose sources have ``gap`` between them."""
    if target.partition("-")[0] in _NO_SPACES:
        return gap.strip(" ")
    return gap or " "


def graft(promised: str, text: str, target: str) -> str:
    """A text that begins with what was promised and goes on as ``text`` does.

    The words of ``text`` that retell what was promised are left out, see
    :func:`~streaming.stabilizer.align`.
    """
    if text.startswith(promised):
        return text
    there, wanted = units(promised), units(text)
    told = align(_folded(there), _folded(wanted))
    rest = "".join(wanted[told:])
    if not rest or rest[0].isspace():
        return promised + rest
    return promised + joint("", target) + rest


def _folded(parts: Sequence[str]) -> list[str]:
    return [part.strip().casefold() for part in parts]


def _common(first: Sequence[str], second: Sequence[str]) -> int:
    """How many units both begin with."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
