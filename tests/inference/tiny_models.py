"""Tiny random-weight translation models, made on the spot.

They translate nothing, but do so exactly like large ones: tokenisation, prefixes, batching and
search can be compared token by token with the library a model family comes from.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece

SYLLABLES = ("ba", "de", "ki", "lo", "mu", "na", "po", "ra", "si", "tu", "ve", "zo", "ção", "él")


def sentences(count: int, seed: int, *, longest: int = 12) -> list[str]:
    """Made-up sentences of made-up words, of very different lengths."""
    rng = random.Random(seed)  # noqa: S311 - test data
    made = []
    for _ in range(count):
        words = ["".join(rng.choices(SYLLABLES, k=rng.randint(1, 4))) for _ in range(longest)]
        text = " ".join(words[: rng.randint(1, longest)])
        made.append(text.capitalize() + rng.choice(".?!"))
    return made


def train_sentencepiece(
    path: Path, *, seed: int, size: int = 120, symbols: Sequence[str] = (), **options: Any
) -> list[str]:
    """Train a SentencePiece model on made-up text; returns its pieces."""
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(400, seed)),
        model_prefix=str(path.parent / "trained"),
        vocab_size=size,
        character_coverage=1.0,
        user_defined_symbols=list(symbols),
        minloglevel=2,
        num_threads=1,
        **options,
    )
    (path.parent / "trained.model").rename(path)
    (path.parent / "trained.vocab").unlink()
    processor = sentencepiece.SentencePieceProcessor(str(path))
    return [processor.id_to_piece(number) for number in range(processor.get_piece_size())]


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def write_ct2_model(directory: Path, vocabulary: Sequence[str], *, seed: int) -> None:
    """Write a random-weight encoder-decoder in CTranslate2's own format, without torch."""
    # The converters' package says it is meant for scripts; its specs need only numpy.
    from ctranslate2.specs import transformer_spec

    rng = np.random.default_rng(seed)
    size, inner = 16, 32

    def weights(*shape: int) -> Any:
        return rng.normal(0, 0.6, shape).astype(np.float32)

    def fill_linear(linear: Any, rows: int, columns: int) -> None:
        linear.weight, linear.bias = weights(rows, columns), np.zeros(rows, np.float32)

    def fill_norm(norm: Any) -> None:
        norm.gamma, norm.beta = np.ones(size, np.float32), np.zeros(size, np.float32)

    spec = transformer_spec.TransformerSpec.from_config((1, 1), 4, pre_norm=True)
    for stack, attentions in (
        (spec.encoder, ["self_attention"]),
        (spec.decoder, ["self_attention", "attention"]),
    ):
        embeddings = stack.embeddings[0] if isinstance(stack.embeddings, list) else stack.embeddings
        embeddings.weight = weights(len(vocabulary), size)
        stack.position_encodings.encodings = weights(520, size)
        fill_norm(stack.layer_norm)
        for layer in stack.layer:
            for name in attentions:
                attention = getattr(layer, name)
                fill_norm(attention.layer_norm)
                if name == "self_attention":
                    fill_linear(attention.linear[0], 3 * size, size)
                else:
                    fill_linear(attention.linear[0], size, size)
                    fill_linear(attention.linear[1], 2 * size, size)
                fill_linear(attention.linear[-1], size, size)
            fill_norm(layer.ffn.layer_norm)
            fill_linear(layer.ffn.linear_0, inner, size)
            fill_linear(layer.ffn.linear_1, size, inner)
    fill_linear(spec.decoder.projection, len(vocabulary), size)
    spec.register_source_vocabulary(list(vocabulary))
    spec.register_target_vocabulary(list(vocabulary))
    spec.config.eos_token, spec.config.unk_token = "</s>", "<unk>"
    spec.config.decoder_start_token = "</s>"
    spec.validate()
    spec.optimize()
    directory.mkdir(parents=True, exist_ok=True)
    spec.save(str(directory))


def special_first(pieces: Sequence[str], *special: str) -> list[str]:
    """A vocabulary of special tokens and then the pieces that are none."""
    return list(dict.fromkeys([*special, *pieces]))
