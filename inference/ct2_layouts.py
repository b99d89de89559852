"""How families of translation models write their input: tokens, prefixes, language codes.

CTranslate2 runs token lists; which tokens say "from English, to Portuguese" is the family's own
business, and a converted directory does not name its family. It is told by the vocabulary.

==========  ==============================  =======================  =========================
family      source tokens                   target prefix            languages
==========  ==============================  =======================  =========================
Marian      [``>>por<<``] text ``</s>``                              file, name or vocabulary
NLLB        ``eng_Latn`` text ``</s>``      ``por_Latn``             vocabulary (FLORES-200)
M2M-100     ``__en__`` text ``</s>``        ``__pt__``               vocabulary
MADLAD-400  ``<2pt>`` text ``</s>``                                  vocabulary
==========  ==============================  =======================  =========================
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from inference.languages import canonical

Family = Literal["marian", "nllb", "m2m100", "madlad"]

_LANGUAGE_TOKENS: Final[Mapping[Family, re.Pattern[str]]] = {
    "nllb": re.compile(r"([a-z]{3}_[A-Z][a-z]{3})"),
    "m2m100": re.compile(r"__([a-z]{2,3})__"),
    "madlad": re.compile(r"<2([a-z]{2,3}(?:[-_][A-Za-z]+)*)>"),
    "marian": re.compile(r">>([A-Za-z]{2,3}(?:[-_][A-Za-z]+)*)<<"),
}
_MULTILINGUAL: Final[tuple[Family, ...]] = ("nllb", "m2m100", "madlad")

_LANGUAGES_FILE: Final = "languages.json"
_OPUS_NAME: Final = re.compile(r"opus-mt(?:-tc(?:-[a-z]+)*)?-([A-Za-z_]{2,})-([A-Za-z_]{2,})$")
_GROUPS: Final = frozenset(
    {"mul", "roa", "gem", "sla", "zle", "zlw", "zls", "itc", "ine", "romance"}
)
"""Names of OPUS-MT models that stand for many languages."""

_EOS: Final = "</s>"


class UnknownLayout(ValueError):
    """The directory holds no translation model of a known family."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one model directory is used. Languages are canonical codes."""

    family: Family
    source_spm: Path
    target_spm: Path
    pairs: frozenset[tuple[str, str]]
    tokens: Mapping[str, str]
    """Each language's own token; for Marian those of the targets, empty if there is one only."""

    def text(self, text: str, target: str) -> str:
        """What SentencePiece is given."""
        return f"{self.tokens[target]} {text}" if self.family == "madlad" else text

    def source(self, pieces: Sequence[str], source: str, target: str) -> list[str]:
        """The model's input for a sentence's pieces."""
        if self.family in ("nllb", "m2m100"):
            return [self.tokens[source], *pieces, _EOS]
        if self.family == "marian" and self.tokens:
            return [self.tokens[target], *pieces, _EOS]
        return [*pieces, _EOS]

    def target_prefix(self, target: str) -> list[str]:
        """The tokens the output has to begin with."""
        return [self.tokens[target]] if self.family in ("nllb", "m2m100") else []


def detect(directory: Path) -> Layout:
    """Find out a converted model's layout. Raises ``UnknownLayout`` with what is missing."""
    if not (directory / "model.bin").is_file():
        raise UnknownLayout(f"{directory.name} holds no model.bin")
    vocabulary = _vocabulary(directory)
    for family in _MULTILINGUAL:
        tokens = _language_tokens(family, vocabulary)
        # One such token may be a word of a text; a family's vocabulary has all its languages.
        if len(tokens) > 1:
            spm = _first(
                directory, "sentencepiece.bpe.model", "spiece.model", "sentencepiece.model"
            )
            pairs = frozenset((a, b) for a in tokens for b in tokens if a != b)
            return Layout(family, spm, spm, pairs, tokens)
    source = _first(directory, "source.spm")
    target = _first(directory, "target.spm")
    tokens = _language_tokens("marian", vocabulary)
    sources, targets = _marian_languages(directory, tokens)
    tokens = {code: token for code, token in tokens.items() if code in targets}
    if tokens.keys() != targets and (tokens or len(targets) > 1):
        missing = ", ".join(sorted(targets - tokens.keys()))
        raise UnknownLayout(f"{directory.name} has no token for the target {missing}")
    pairs = frozenset((a, b) for a in sources for b in targets if a != b)
    return Layout("marian", source, target, pairs, tokens)


def _vocabulary(directory: Path) -> list[str]:
    """The tokens on both sides, in any of the forms CTranslate2 has written them."""
    tokens: list[str] = []
    for name in ("shared_vocabulary", "source_vocabulary", "target_vocabulary"):
        as_json, as_text = directory / f"{name}.json", directory / f"{name}.txt"
        if as_json.is_file():
            tokens += json.loads(as_json.read_text(encoding="utf-8"))
        elif as_text.is_file():
            tokens += as_text.read_text(encoding="utf-8").split("\n")
    if not tokens:
        raise UnknownLayout(f"{directory.name} holds no vocabulary")
    return tokens


def _language_tokens(family: Family, vocabulary: Iterable[str]) -> dict[str, str]:
    pattern = _LANGUAGE_TOKENS[family]
    tokens: dict[str, str] = {}
    for token in vocabulary:
        match = pattern.fullmatch(token)
        code = match and canonical(match.group(1))
        if code:
            tokens.setdefault(code, token)
    return tokens


def _marian_languages(
    directory: Path, tokens: Mapping[str, str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Sources and targets: from the languages file, else from the directory's name, where a
    group of targets (``mul``) stands for all the vocabulary has tokens for.
    """
    file = directory / _LANGUAGES_FILE
    if file.is_file():
        stated: Any = json.loads(file.read_text(encoding="utf-8"))
        try:
            return _codes(stated["sources"]), _codes(stated["targets"])
        except (KeyError, TypeError) as error:
            raise UnknownLayout(
                f'{_LANGUAGES_FILE} must be like {{"sources": ["en"], "targets": ["de"]}}'
            ) from error
    name = _OPUS_NAME.search(directory.name)
    if name is not None and name.group(1).lower() not in _GROUPS:
        sources = _codes([name.group(1)])
        if name.group(2).lower() not in _GROUPS:
            return sources, _codes([name.group(2)])
        if tokens:
            return sources, frozenset(tokens)
    raise UnknownLayout(
        f"which languages {directory.name} translates can't be told: put a {_LANGUAGES_FILE} "
        f'like {{"sources": ["en"], "targets": ["de"]}} beside the model'
    )


def _codes(tags: Iterable[str]) -> frozenset[str]:
    codes = {tag: canonical(tag) for tag in tags}
    unknown = [tag for tag, code in codes.items() if code is None]
    if unknown or not codes:
        raise UnknownLayout(f"not a language: {', '.join(unknown) or 'none is named'}")
    return frozenset(code for code in codes.values() if code)


def _first(directory: Path, *names: str) -> Path:
    for name in names:
        if (directory / name).is_file():
            return directory / name
    raise UnknownLayout(f"{directory.name} lacks its SentencePiece model ({' or '.join(names)})")
