"""LibreTranslate's dialect: lists of texts, and languages that the service names itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from inference.concurrency import together
from inference.engine import Sentence
from inference.languages import canonical
from inference.remote import RemoteClient, tidy
from inference.routing import First
from streaming.errors import ModelUnavailable

_OWN_CODES: Final = {"zt": "zh-Hant", "pb": "pt"}
"""Codes of LibreTranslate that are no language tags."""


class _Language(msgspec.Struct):
    code: str
    targets: list[str]


class _Translated(msgspec.Struct, rename="camel"):
    translated_text: list[str]


class LibreTranslateEngine:
    """A LibreTranslate server, or one that speaks like it: a ``RemoteEngine``.

    It serves what it lists, of that only ``languages`` if any are given. ``version`` has to change
    with whatever the service's output depends on.
    """

    max_chars = 1000
    max_batch = 8

    def __init__(
        self,
        client: RemoteClient,
        *,
        version: str,
        api_key: str | None = None,
        languages: Iterable[str] = (),
        first: First = False,
        at_once: int = 4,
    ) -> None:
        self.name = client.name
        self.version = version
        self.first = first
        self.at_once = at_once
        self.pairs: frozenset[tuple[str, str]] = frozenset()
        self._client = client
        self._api_key = api_key
        self._wanted = {canonical(tag) or tag for tag in languages}
        self._codes: dict[tuple[str, str], tuple[str, str]] = {}
        """How the service writes each pair."""

    @property
    def available(self) -> bool:
        return self._client.breaker.available

    async def refresh(self) -> None:
        """Ask what it serves. Raises ``ModelUnavailable``."""
        listed = await self._client.ask("languages", list[_Language])
        codes: dict[tuple[str, str], tuple[str, str]] = {}
        for language in listed:
            for target in language.targets:
                pair = _canonical(language.code), _canonical(target)
                if pair[0] != pair[1] and (not self._wanted or self._wanted.issuperset(pair)):
                    # The plainer code of two for a language: pt before pt-BR.
                    theirs = language.code, target
                    codes[pair] = min(codes.get(pair, theirs), theirs, key=_length)
        self._codes = codes
        self.pairs = frozenset(codes)

    async def translate(self, sentences: Sequence[Sentence]) -> list[str]:
        """See :class:`~inference.engine.RemoteEngine`. One request for each pair."""
        by_pair: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for one in sentences:
            by_pair[one.source, one.target].append(one.text)
        answers = await together(self._one_pair(*group) for group in by_pair.items())
        remaining = {pair: iter(texts) for pair, texts in zip(by_pair, answers, strict=True)}
        return [next(remaining[one.source, one.target]) for one in sentences]

    async def close(self) -> None:
        await self._client.close()

    async def _one_pair(self, pair: tuple[str, str], texts: list[str]) -> list[str]:
        source, target = self._codes.get(pair, pair)
        body: dict[str, Any] = {"q": texts, "source": source, "target": target, "format": "text"}
        if self._api_key is not None:
            body["api_key"] = self._api_key
        found = (await self._client.ask("translate", _Translated, body)).translated_text
        if len(found) != len(texts):
            raise ModelUnavailable(f"{self.name} answers with something else.")
        return [tidy(self.name, text, made) for text, made in zip(texts, found, strict=True)]


def _length(codes: tuple[str, str]) -> int:
    return sum(map(len, codes))


def _canonical(code: str) -> str:
    return _OWN_CODES.get(code) or canonical(code) or code
