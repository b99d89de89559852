"""Text translation models converted to CTranslate2: OPUS-MT (Marian), NLLB, M2M-100, MADLAD-400."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from inference.ct2_layouts import UnknownLayout, detect
from inference.engine import Sentence
from inference.exclusive import Exclusive
from inference.models import fingerprint
from inference.sentences import cut
from streaming.errors import ModelUnavailable, TranslationFailed

Device = Literal["auto", "cpu", "cuda"]

_MAX_TOKENS: Final = 384
"""Source tokens of one sentence; the families' position tables end at 512 or 1024."""

_MAX_OUTPUT: Final = 500

_RELOAD_SECONDS: Final = 5.0
"""How long others may take to come to an end before the model is loaded anew."""

_BIAS: Final = 0.25
"""How much a prefix counts against the model (β in Arivazhagan et al. 2020, arXiv 1912.03393): at
each token the model has its way where it is surer than by β/(1−β), a third."""

_SPECIAL: Final = frozenset({"<s>", "</s>", "<pad>", "<mask>"})


class CTranslate2Engine:
    """One converted model directory: a ``TextEngine``.

    ``device_index`` may name several GPUs; each gets ``replicas`` parallel translators, on a CPU
    each with ``threads`` threads. (More threads than free cores are many times slower than one.)
    ``compute_type`` is CTranslate2's (``int8`` on CPU, ``int8_float16`` on a GPU …).
    ``max_batch_tokens`` bounds one forward pass: sentences are sorted by length and padded to the
    longest of their pass.

    Raises ``ModelUnavailable`` if the directory holds no model of a known family.
    """

    max_chars = 500

    def __init__(
        self,
        directory: Path,
        *,
        name: str | None = None,
        device: Device = "auto",
        device_index: int | Sequence[int] = 0,
        compute_type: str = "default",
        replicas: int = 1,
        threads: int = 1,
        beam_size: int = 1,
        max_batch: int = 32,
        max_batch_tokens: int = 2048,
    ) -> None:
        try:
            self._layout = detect(directory)
        except (UnknownLayout, OSError, ValueError) as error:
            raise ModelUnavailable(f"No translation model can be used here: {error}.") from error
        self.name = name or directory.name
        self.version = f"{self.name}-{fingerprint(directory)}-{compute_type}-b{beam_size}"
        self.pairs = self._layout.pairs
        self.max_batch = max_batch
        # A bias can't be told from a language token that must come first: both are the prefix.
        self.steerable = not any(self._layout.target_prefix(target) for _, target in self.pairs)
        indexes = [device_index] if isinstance(device_index, int) else list(device_index)
        self.replicas = replicas * len(indexes)
        self._directory = directory
        self._options: dict[str, Any] = {
            "device": device,
            "device_index": indexes,
            "compute_type": compute_type,
            "inter_threads": replicas,
            "intra_threads": threads,
        }
        self._not_text = _SPECIAL.union(self._layout.tokens.values())
        self._beam_size = beam_size
        self._max_batch_tokens = max_batch_tokens
        self._lock = threading.Lock()
        self._use = Exclusive()
        self._translator: Any = None
        self._source: Any = None
        self._target: Any = None

    def load(self) -> None:
        """Load model and SentencePiece, and run once. Idempotent, thread-safe."""
        if self._translator is None:
            with self._lock:
                if self._translator is None:
                    self._translator = self._loaded()

    def recover(self) -> None:
        """Load the model once more, beside the one in which a call hangs. Blocking."""
        with self._lock:
            self._translator = self._loaded()
            self._use = Exclusive()

    def reload(self) -> bool:
        """Load the model anew, which frees all memory it has taken. Blocking.

        False when other threads don't come to an end with it.
        """
        with self._use.alone(_RELOAD_SECONDS) as alone:
            if alone:
                self.close()
                self.load()
            return alone

    def _loaded(self) -> Any:
        try:
            import ctranslate2
            import sentencepiece

            self._source = sentencepiece.SentencePieceProcessor(str(self._layout.source_spm))
            self._target = sentencepiece.SentencePieceProcessor(str(self._layout.target_spm))
            translator = ctranslate2.Translator(str(self._directory), **self._options)
            source, target = min(self.pairs)
            self._run(translator, [Sentence("1", source, target)])
        except Exception as error:
            raise ModelUnavailable(f"The model {self.name} can't be loaded.") from error
        return translator

    def translate(self, sentences: Sequence[Sentence]) -> list[str]:
        """One translation for each sentence; see :class:`~inference.engine.TextEngine`."""
        with self._use.used():
            return self._translate(sentences)

    def _translate(self, sentences: Sequence[Sentence]) -> list[str]:
        for sentence in sentences:
            if (sentence.source, sentence.target) not in self.pairs:
                raise TranslationFailed(
                    f"{self.name} does not translate {sentence.source} to {sentence.target}."
                )
        self.load()
        parts = [self._fit(sentence) for sentence in sentences]
        flat = [part for row in parts for part in row]
        if not flat:
            return []
        outputs: dict[int, str] = {}
        for biased in (False, True):  # they can't share a call
            rows = [number for number, part in enumerate(flat) if self._biased(part) is biased]
            if rows:
                tokens = self._run(self._translator, [flat[row] for row in rows], biased=biased)
                outputs |= zip(rows, map(self._decode, tokens), strict=True)
        done = iter(range(len(flat)))
        return [" ".join(outputs[next(done)] for _ in row) for row in parts]

    def close(self) -> None:
        """Free the model; a later ``translate`` loads it again."""
        with self._lock:
            self._translator = self._source = self._target = None

    def _fit(self, sentence: Sentence) -> list[Sentence]:
        """The sentence, or its parts where it makes more tokens than the model has positions."""
        if len(sentence.text) < 2 or len(self._encode(sentence)) <= _MAX_TOKENS:  # noqa: PLR2004 - a single character can't be cut
            return [sentence]
        halves = [piece for piece, _ in cut(sentence.text, (len(sentence.text) + 1) // 2)]
        return [
            part for half in halves for part in self._fit(sentence._replace(text=half, prefix=""))
        ]

    def _encode(self, sentence: Sentence) -> list[str]:
        pieces = self._source.encode(
            self._layout.text(sentence.text, sentence.target), out_type=str
        )
        return self._layout.source(pieces, sentence.source, sentence.target)

    def _decode(self, tokens: list[str]) -> str:
        # Marian's two sides share one vocabulary: pieces of the source side stay undecoded.
        text = [token for token in tokens if token not in self._not_text]
        return str(self._target.decode(text)).replace("\u2581", " ").strip()

    def _biased(self, sentence: Sentence) -> bool:
        return self.steerable and bool(sentence.prefix)

    def _prefix(self, sentence: Sentence) -> list[str]:
        """The tokens a translation has to begin with, or should."""
        if self._biased(sentence):
            return list(self._target.encode(sentence.prefix, out_type=str))
        return self._layout.target_prefix(sentence.target)

    def _run(
        self, translator: Any, sentences: Sequence[Sentence], *, biased: bool = False
    ) -> list[list[str]]:
        """The output tokens, without a forced prefix and the end.

        ``biased``: each sentence has a prefix of its own, which is only favoured.
        """
        sources = [self._encode(sentence) for sentence in sentences]
        prefixes = [self._prefix(sentence) for sentence in sentences]
        # CTranslate2 counts a prefix that it forces.
        forced = [0 if biased else len(prefix) for prefix in prefixes]
        limits = [min(_MAX_OUTPUT, 20 + 2 * len(source)) for source in sources]
        results = translator.translate_batch(
            sources,
            target_prefix=prefixes if any(prefixes) else None,
            prefix_bias_beta=_BIAS if biased else 0,
            max_batch_size=self._max_batch_tokens,
            batch_type="tokens",
            beam_size=self._beam_size,
            min_decoding_length=1 + max(forced),
            max_decoding_length=max(limits) + max(forced),
            disable_unk=True,
            max_input_length=0,
        )
        # A sentence's own limit, so that what it is batched with makes no difference.
        return [
            result.hypotheses[0][skipped:][:limit]
            for result, skipped, limit in zip(results, forced, limits, strict=True)
        ]
