"""Languages: how they are written, which there are, and how one is reached from another.

Inside Surtitle a language has one code, :func:`canonical`: ISO 639-1 where there is one, macro
languages for their main member (``zh``, not ``cmn``), and a script only where it is not the usual
one (``zh-Hant``). Recognisers and engines with codes of their own are translated at their border.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final

import langcodes
from langcodes.tag_parser import LanguageTagError

from inference.sentences import sentences
from streaming.errors import UnknownLanguage
from streaming.types import Language, Route

_PREFERRED: Final = {"nb": "no", "fil": "tl"}
"""Where the models of the field agree on another code than CLDR."""

TextRoute = Callable[[str, str], Route | None]
"""How a text engine (or a router over engines) serves a pair of canonical codes."""


def _always(_source: str, _target: str) -> bool:
    return True


@lru_cache(maxsize=4096)
def canonical(tag: str) -> str | None:
    """The code of a language tag, or None if it is none: ``pt-BR`` → ``pt``, ``iw`` → ``he``,
    ``cmn`` → ``zh``, ``zh-TW`` → ``zh-Hant``, ``eng_Latn`` → ``en``. Case does not matter.

    Tags are BCP 47 (RFC 5646), with ``_`` allowed for ``-``; deprecated ones are understood.
    """
    try:
        language = langcodes.Language.get(langcodes.standardize_tag(tag.strip(), macro=True))
    except LanguageTagError:
        return None
    if not language.language or language.language == "und" or not language.is_valid():
        return None
    code = _PREFERRED.get(language.language, language.language)
    script = language.script or (language.territory and language.maximize().script)
    if not script or script == langcodes.Language.get(language.language).maximize().script:
        return code
    return f"{code}-{script}"


@lru_cache(maxsize=1024)
def name_of(code: str) -> str:
    """A language's English name."""
    return langcodes.Language.get(code).display_name("en")


class _Codes:
    """A set of codes, as some model writes them, found by any tag that means them."""

    def __init__(self, codes: Iterable[str]) -> None:
        self._exact: dict[str, str] = {}
        self._base: dict[str, str] = {}
        # Sorted, so that zh comes before zh-Hant and stands for Chinese of any script.
        for code in sorted(codes):
            known = canonical(code) or code
            self._exact.setdefault(known, code)
            self._base.setdefault(known.partition("-")[0], code)

    def __iter__(self) -> Iterator[str]:
        return iter(self._exact.values())

    def find(self, tag: str) -> str | None:
        code = canonical(tag)
        if code is None:
            return None
        return self._exact.get(code) or self._base.get(code.partition("-")[0])

    def near(self, tag: str) -> list[str]:
        """Codes whose spelling, English name or own name resembles what was asked for."""
        names = {langcodes.Language.get(code).autonym().casefold(): code for code in self}
        names |= {name_of(code).casefold(): code for code in self}
        names |= {code.casefold(): code for code in self}
        close = difflib.get_close_matches(tag.strip().casefold(), names, n=3, cutoff=0.75)
        return list(dict.fromkeys(names[name] for name in close))


class Languages:
    """What can be asked for, and how it would be done: a ``LanguageCatalogue``.

    ``speech`` are the recogniser's codes; ``speech_to_english`` says whether it also translates
    to English; ``text_pairs`` and ``text_route`` are the text translator's ``pairs`` and
    ``route``; ``text_available`` says whether a pair can be translated just now. All answers come
    from memory.
    """

    def __init__(
        self,
        *,
        speech: frozenset[str],
        speech_to_english: bool,
        text_pairs: frozenset[tuple[str, str]],
        text_route: TextRoute,
        text_available: Callable[[str, str], bool] = _always,
        speech_engine: str = "whisper",
    ) -> None:
        self._speech = _Codes(speech)
        self._spoken = speech
        self._speech_to_english = speech_to_english
        self._speech_engine = speech_engine
        self._text_route = text_route
        self._text_available = text_available
        self.update(text_pairs)

    def update(self, text_pairs: frozenset[tuple[str, str]]) -> None:
        """Take what the text translator does now."""
        text = {code for pair in text_pairs for code in pair}
        known = {canonical(code) for code in text}
        if self._speech_to_english:
            text.add("en")
        # What can be spoken can be captioned in its own language.
        targets = text | {code for code in self._spoken if canonical(code) not in known}
        self._targets = _Codes(targets)
        self._text_sources = _Codes(text)
        self._listing = self._list()

    def spoken(self, tag: str) -> str:
        """The recogniser's code for a tag. Raises ``UnknownLanguage``."""
        return self._find(self._speech, tag, "that can be recognised in speech")

    def target(self, tag: str) -> str:
        """The translator's code for a tag. Raises ``UnknownLanguage``."""
        return self._find(self._targets, tag, "known here")

    def speech_route(self, source: str, target: str) -> Route | None:
        """The best way from speech to text: the caption itself, a text translation, Whisper's
        own translation to English, or that and a text translation from English.

        While no engine for a text translation answers, Whisper's takes its place.
        """
        route = self.text_route(source, target)
        if route is not None and self._text_available(*_pair(source, target)):
            return route
        spoken = self.spoken_route(source, target)
        if spoken is None or route is None:
            return route or spoken
        onward = canonical(target) or target
        return spoken if onward == "en" or self._text_available("en", onward) else route

    def spoken_route(self, source: str, target: str) -> Route | None:
        """Whisper's translation to English, and a text translation from there."""
        start, end = _pair(source, target)
        if start == end or not self._speech_to_english or self._speech.find(source) is None:
            return None
        if end == "en":
            return Route(source, target, "whisper", self._speech_engine)
        onward = self._text_route("en", end) if start != "en" else None
        if onward is None:
            return None
        return Route(source, target, "whisper+pivot", f"{self._speech_engine}+{onward.engine}")

    def text_route(self, source: str, target: str) -> Route | None:
        """The best way from text to text."""
        start, end = _pair(source, target)
        if start == end:
            return Route(source, target, "identity", "identity")
        route = self._text_route(start, end)
        return route and Route(source, target, route.kind, route.engine)

    def sentences(self, text: str, language: str) -> list[str]:
        """See :func:`inference.sentences.sentences`."""
        return sentences(text, language)

    def listing(self) -> tuple[Language, ...]:
        """Every language that can be spoken or translated from, by name. A language's routes
        include itself (``identity``); for one that can be spoken they start from speech.
        """
        return self._listing

    def _list(self) -> tuple[Language, ...]:
        targets = sorted(self._targets)
        found: list[Language] = []
        for code in sorted(set(self._text_sources) | set(self._targets)):
            spoken = self._speech.find(code)
            speech = spoken is not None and canonical(spoken) == canonical(code)
            reach = self._usual_route if speech else self.text_route
            routes = [route for target in targets if (route := reach(code, target))]
            if speech or len(routes) > 1:
                found.append(Language(code, name_of(code), speech, tuple(routes)))
        return tuple(sorted(found, key=lambda language: (language.name, language.code)))

    def _usual_route(self, source: str, target: str) -> Route | None:
        """From speech, while everything works."""
        return self.text_route(source, target) or self.spoken_route(source, target)

    def _find(self, codes: _Codes, tag: str, what: str) -> str:
        code = codes.find(tag)
        if code is not None:
            return code
        named = canonical(tag)
        near = [] if named else codes.near(tag)  # what is a language is no slip of the pen
        if tag.strip().casefold() == "auto":
            message = "«auto» is not a language: name the one you want."
        elif named is not None:
            message = f"{name_of(named)} ({named}) is not a language {what}."
        else:
            message = f"«{tag}» is not a language {what}."
        if near:
            options = " or ".join(f"{code} ({name_of(code)})" for code in near)
            message += f" Did you mean {options}?"
        raise UnknownLanguage(message, language=tag, suggestions=near, supported=sorted(codes))


def _pair(source: str, target: str) -> tuple[str, str]:
    return canonical(source) or source, canonical(target) or target
