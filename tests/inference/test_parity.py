"""The CTranslate2 engine against the library its models come from, token by token.

Random-weight models of each family are made with ``transformers``, converted with CTranslate2's
own converter and read by our engine; ``generate`` is the reference. Needs torch
(``make test-parity``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sentencepiece

from inference.ct2_translation import CTranslate2Engine
from inference.engine import Sentence
from tests.inference.tiny_models import sentences, train_sentencepiece, write_json

pytestmark = [
    pytest.mark.parity,
    # It only normalises punctuation, which made-up text has none of.
    pytest.mark.filterwarnings("ignore:Recommended. pip install sacremoses:UserWarning"),
    # The libraries' quarrels with each other and with Python are not ours.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SIZES = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "init_std": 0.4,  # so that attention is sharp and outputs depend on inputs
    "dropout": 0.0,
}


@dataclass(frozen=True, slots=True)
class Case:
    """A converted model and its original."""

    engine: CTranslate2Engine
    pairs: Sequence[tuple[str, str]]
    model: Any
    tokenize: Callable[[Sentence], list[int]]
    to_tokens: Callable[[list[int]], list[str]]
    forced: Callable[[str], int | None]
    """The id the output is forced to begin with, for a target."""
    banned: list[int]
    """Ids the engine never writes."""
    decode: Callable[[list[int]], str]


def ready(model: Any, boost: float) -> Any:
    """The model with an end-of-sentence token that sometimes wins: chance alone never ends."""
    import torch

    with torch.no_grad():
        model.lm_head.weight[model.config.eos_token_id] *= boost
    return model.eval()


def convert(original: Path, converted: Path, files: list[str]) -> CTranslate2Engine:
    from ctranslate2.converters import TransformersConverter

    TransformersConverter(str(original), copy_files=files).convert(str(converted))
    # Small batches: sentences of one call are spread over several forward passes.
    return CTranslate2Engine(
        converted, device="cpu", compute_type="float32", threads=1, max_batch_tokens=128
    )


def marian(folder: Path, *, multilingual: bool) -> Case:
    import torch
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    original = folder / "original"
    original.mkdir()
    source = train_sentencepiece(original / "source.spm", seed=1)
    target = train_sentencepiece(original / "target.spm", seed=2)
    prefixes = {"pt": ">>por<<", "de": ">>deu<<"} if multilingual else {}
    tokens = ["</s>", "<unk>", *prefixes.values(), *source, *target]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    vocabulary.pop("<s>")
    vocabulary = {token: number for number, token in enumerate([*vocabulary, "<pad>"])}
    write_json(original / "vocab.json", vocabulary)
    tokenizer = MarianTokenizer(
        source_spm=str(original / "source.spm"),
        target_spm=str(original / "target.spm"),
        vocab=str(original / "vocab.json"),
    )
    pad = vocabulary["<pad>"]
    torch.manual_seed(9)
    model = ready(
        MarianMTModel(
            MarianConfig(
                vocab_size=len(vocabulary),
                max_position_embeddings=512,
                pad_token_id=pad,
                eos_token_id=0,
                decoder_start_token_id=pad,
                forced_eos_token_id=None,
                scale_embedding=True,
                activation_function="swish",
                **SIZES,
            )
        ),
        3.0,
    )
    model.save_pretrained(original)
    tokenizer.save_pretrained(original)
    converted = folder / ("opus-mt-en-mul" if multilingual else "opus-mt-en-de")
    return Case(
        engine=convert(original, converted, ["source.spm", "target.spm"]),
        pairs=[("en", "de"), ("en", "pt")] if multilingual else [("en", "de")],
        model=model,
        tokenize=lambda sentence: (
            tokenizer(
                f"{prefixes[sentence.target]} {sentence.text}" if multilingual else sentence.text
            ).input_ids
        ),
        to_tokens=tokenizer.convert_ids_to_tokens,
        forced=lambda _target: None,
        banned=[pad, vocabulary["<unk>"]],
        decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
    )


def m2m100_model(size: int, seed: int) -> Any:
    import torch
    from transformers import M2M100Config, M2M100ForConditionalGeneration

    torch.manual_seed(seed)
    return ready(
        M2M100ForConditionalGeneration(
            M2M100Config(
                vocab_size=size,
                max_position_embeddings=512,
                pad_token_id=1,
                bos_token_id=0,
                eos_token_id=2,
                decoder_start_token_id=2,
                forced_eos_token_id=None,
                **SIZES,
            )
        ),
        3.0,
    )


def nllb(folder: Path) -> Case:
    from transformers import NllbTokenizer

    original = folder / "original"
    original.mkdir()
    train_sentencepiece(original / "sentencepiece.bpe.model", seed=4, model_type="bpe")
    write_json(original / "tokenizer_config.json", {"tokenizer_class": "NllbTokenizer"})
    codes = {"en": "eng_Latn", "pt": "por_Latn", "zh": "zho_Hans", "ar": "arb_Arab"}
    tokenizer = NllbTokenizer.from_pretrained(
        original, extra_special_tokens=list(codes.values()), src_lang="eng_Latn"
    )
    model = m2m100_model(len(tokenizer), seed=6)
    model.save_pretrained(original)
    tokenizer.save_pretrained(original)

    def tokenize(sentence: Sentence) -> list[int]:
        tokenizer.src_lang = codes[sentence.source]
        return list(tokenizer(sentence.text).input_ids)

    return Case(
        engine=convert(original, folder / "nllb", ["sentencepiece.bpe.model"]),
        pairs=[("en", "pt"), ("zh", "ar"), ("pt", "en")],
        model=model,
        tokenize=tokenize,
        to_tokens=tokenizer.convert_ids_to_tokens,
        forced=lambda target: tokenizer.convert_tokens_to_ids(codes[target]),
        banned=[tokenizer.unk_token_id],
        decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
    )


def m2m100(folder: Path) -> Case:
    from transformers import M2M100Tokenizer
    from transformers.models.m2m_100.tokenization_m2m_100 import FAIRSEQ_LANGUAGE_CODES

    original = folder / "original"
    original.mkdir()
    pieces = train_sentencepiece(original / "sentencepiece.bpe.model", seed=6)
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    rest = [piece for piece in pieces if piece not in first]
    write_json(original / "vocab.json", {token: i for i, token in enumerate([*first, *rest])})
    tokenizer = M2M100Tokenizer(
        str(original / "vocab.json"),
        str(original / "sentencepiece.bpe.model"),
        extra_special_tokens=[f"__{code}__" for code in FAIRSEQ_LANGUAGE_CODES["m2m100"]],
    )
    model = m2m100_model(len(tokenizer) + tokenizer.num_madeup_words, seed=5)
    model.save_pretrained(original)
    tokenizer.save_pretrained(original)

    def tokenize(sentence: Sentence) -> list[int]:
        tokenizer.src_lang = sentence.source
        return list(tokenizer(sentence.text).input_ids)

    return Case(
        engine=convert(original, folder / "m2m100", ["sentencepiece.bpe.model"]),
        pairs=[("en", "pt"), ("de", "fr")],
        model=model,
        tokenize=tokenize,
        to_tokens=tokenizer.convert_ids_to_tokens,
        forced=tokenizer.get_lang_id,
        banned=[tokenizer.unk_token_id],
        decode=lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
    )


def madlad(folder: Path) -> Case:
    import torch
    from transformers import T5Config, T5ForConditionalGeneration, T5Tokenizer

    original = folder / "original"
    original.mkdir()
    symbols = ["<2pt>", "<2de>", "<2zh>"]
    pieces = train_sentencepiece(
        original / "spiece.model",
        seed=7,
        symbols=symbols,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
    )
    write_json(
        original / "tokenizer_config.json", {"tokenizer_class": "T5Tokenizer", "extra_ids": 0}
    )
    tokenizer = T5Tokenizer.from_pretrained(original, extra_ids=0)
    assert tokenizer.convert_ids_to_tokens(range(len(pieces))) == pieces
    # Inputs come from SentencePiece itself: this version's tokenizer takes the language tokens
    # out before it sees the text, and so writes no "▁" before them.
    processor = sentencepiece.SentencePieceProcessor(str(original / "spiece.model"))
    torch.manual_seed(8)
    model = ready(
        T5ForConditionalGeneration(
            T5Config(
                vocab_size=len(tokenizer),
                d_model=32,
                d_kv=8,
                d_ff=64,
                num_layers=2,
                num_heads=4,
                feed_forward_proj="gated-gelu",
                tie_word_embeddings=False,
                decoder_start_token_id=0,
                dropout_rate=0.0,
                initializer_factor=3.0,
            )
        ),
        3.0,
    )
    model.save_pretrained(original)
    tokenizer.save_pretrained(original)
    return Case(
        engine=convert(original, folder / "madlad", ["spiece.model"]),
        pairs=[("de", "pt"), ("pt", "de")],
        model=model,
        tokenize=lambda sentence: processor.encode(
            f"<2{sentence.target}> {sentence.text}", add_eos=True
        ),
        to_tokens=tokenizer.convert_ids_to_tokens,
        forced=lambda _target: None,
        banned=[tokenizer.unk_token_id],
        # The untrained model writes language tokens, which its tokenizer takes for words.
        decode=lambda ids: tokenizer.decode([i for i in ids if pieces[i] not in symbols]),
    )


FAMILIES: dict[str, Callable[[Path], Case]] = {
    "marian": lambda folder: marian(folder, multilingual=False),
    "marian-multilingual": lambda folder: marian(folder, multilingual=True),
    "nllb": nllb,
    "m2m100": m2m100,
    "madlad": madlad,
}


@pytest.fixture(scope="module", params=FAMILIES)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    made = FAMILIES[request.param](tmp_path_factory.mktemp(request.param))
    made.engine.load()
    return made


def generate(case: Case, sentence: Sentence) -> list[int]:
    """The reference's greedy output for one sentence alone: ids without start, prefix and end."""
    import torch

    ids = case.tokenize(sentence)
    forced = case.forced(sentence.target)
    prefix = [case.model.config.decoder_start_token_id] + ([] if forced is None else [forced])
    with torch.no_grad():
        output = case.model.generate(
            input_ids=torch.tensor([ids]),
            decoder_input_ids=torch.tensor([prefix]),
            max_new_tokens=20 + 2 * len(ids),
            min_new_tokens=1,  # as the engine: something that was said is not translated to nothing
            num_beams=1,
            do_sample=False,
            suppress_tokens=case.banned,
        )[0].tolist()
    rest: list[int] = output[len(prefix) :]
    eos = case.model.config.eos_token_id
    return rest[: rest.index(eos)] if eos in rest else rest


def texts(case: Case) -> list[Sentence]:
    made = [*sentences(24, 11), *sentences(8, 12, longest=40)]
    return [Sentence(text, *case.pairs[i % len(case.pairs)]) for i, text in enumerate(made)]


def test_the_same_tokens_go_in(case: Case) -> None:
    for sentence in texts(case):
        assert case.engine._encode(sentence) == case.to_tokens(case.tokenize(sentence))


def test_the_same_tokens_come_out_alone(case: Case) -> None:
    different = set()
    cut_off = 0
    for sentence in texts(case)[:12]:
        (tokens,) = case.engine._run(case.engine._translator, [sentence])
        expected = case.to_tokens(generate(case, sentence))
        assert tokens
        assert tokens == expected
        different.add(tuple(tokens))
        cut_off += len(expected) >= 2 * len(case.tokenize(sentence))
    assert len(different) > 6  # the comparison is not of one loop with itself
    assert cut_off < 12  # nor only of outputs that ran into the limit


def test_batched_with_others_the_same_text_comes_out(case: Case) -> None:
    everything = texts(case)
    alone = [case.engine.translate([sentence])[0] for sentence in everything]
    assert case.engine.translate(everything) == alone
    assert case.engine.translate(everything[::-1]) == alone[::-1]


def test_the_text_is_what_the_reference_writes(case: Case) -> None:
    for sentence in texts(case)[:12]:
        (tokens,) = case.engine._run(case.engine._translator, [sentence])
        expected = case.decode(generate(case, sentence)[: len(tokens)])
        assert case.engine.translate([sentence])[0].strip() == expected.strip()
