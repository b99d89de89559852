"""What a client asks for, with ``start`` and ``configure``: languages, and what it is shown."""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from streaming import wire
from streaming.captions import Captions
from streaming.hearing import Hearing
from streaming.intake import Form, Intake
from streaming.ports import LanguageCatalogue
from streaming.text import clean
from streaming.translations import Translations

AUTO: Final = "auto"


class Terms:
    """Gives each part of a session what concerns it. What is refused changes nothing."""

    def __init__(
        self,
        languages: LanguageCatalogue,
        intake: Intake,
        hearing: Hearing[Any],
        captions: Captions,
        translations: Translations,
    ) -> None:
        self._languages = languages
        self._intake = intake
        self._hearing = hearing
        self._captions = captions
        self._translations = translations

    def begin(self, start: wire.Start) -> None:
        """Agree to a ``start``. Raises what is wrong with it."""
        # Everything that can be refused comes before anything is changed.
        form = Form(start.encoding.lower(), start.sample_rate, start.channels)
        pcm = form.decoder()
        language = None if start.source == AUTO else self._languages.spoken(start.source)
        self.translate_to(start.targets)
        self._intake.begin(form, pcm)
        options = self._captions.options
        options.language = language
        options.vocabulary = _words(start.vocabulary)
        options.interim = start.interim
        options.words = start.word_timestamps
        if start.endpoint_ms is not None:
            self._hearing.segmenter.set_endpoint(start.endpoint_ms)

    def configure(self, message: wire.Configure) -> None:
        """Agree to a change. Raises ``UnknownLanguage``."""
        if message.targets is not UNSET:
            self.translate_to(message.targets)
        options = self._captions.options
        if message.interim is not UNSET:
            options.interim = message.interim
        if message.vocabulary is not UNSET:
            options.vocabulary = _words(message.vocabulary)
        if message.endpoint_ms is not UNSET:
            self._hearing.segmenter.set_endpoint(message.endpoint_ms)

    def translate_to(self, tags: list[str]) -> None:
        """Translate into these languages, each once. Raises ``UnknownLanguage``."""
        targets = tuple(dict.fromkeys(self._languages.target(tag) for tag in tags))
        self._translations.targets = targets


def _words(vocabulary: list[str]) -> tuple[str, ...]:
    return tuple(word for word in map(clean, vocabulary) if word.strip())
