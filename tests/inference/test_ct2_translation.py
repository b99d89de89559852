"""Layouts, tokens, prefixes, batches and faults of the CTranslate2 engine, on tiny models.

That a family's tokens are the right ones is what ``test_parity.py`` proves.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.metrics import common_prefix
from inference.ct2_layouts import UnknownLayout, detect
from inference.ct2_translation import CTranslate2Engine
from inference.engine import Sentence
from streaming.errors import ModelUnavailable, TranslationFailed
from tests.inference.tiny_models import (
    sentences,
    special_first,
    train_sentencepiece,
    write_ct2_model,
    write_json,
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny model of each family."""
    root = tmp_path_factory.mktemp("models")
    first = ["<s>", "<pad>", "</s>", "<unk>"]

    def make(name: str, files: list[str], *special: str) -> None:
        (root / name).mkdir()
        symbols = [token for token in special if token.startswith("<2")]
        pieces: list[str] = []
        for number, file in enumerate(files):
            pieces += train_sentencepiece(root / name / file, seed=number, symbols=symbols)
        write_ct2_model(root / name, special_first(pieces, *first, *special), seed=1)

    make("opus-mt-en-de", ["source.spm", "target.spm"])
    make("opus-mt-tc-big-en-roa", ["source.spm", "target.spm"], ">>por<<", ">>fra<<", ">>x<<")
    flores = ["eng_Latn", "por_Latn", "zho_Hans", "zho_Hant", "nob_Latn", "arb_Arab"]
    make("nllb-200", ["sentencepiece.bpe.model"], *flores)
    make("m2m100", ["sentencepiece.bpe.model"], "__en__", "__pt__", "__jv__")
    make("madlad", ["spiece.model"], "<2en>", "<2pt>", "<2fil>")
    make("named-by-nobody", ["source.spm", "target.spm"])
    return root


def engine(models: Path, name: str, max_batch_tokens: int = 2048) -> CTranslate2Engine:
    return CTranslate2Engine(
        models / name,
        device="cpu",
        compute_type="float32",
        threads=1,
        max_batch_tokens=max_batch_tokens,
    )


@pytest.mark.parametrize(
    ("name", "family", "pairs"),
    [
        ("opus-mt-en-de", "marian", {("en", "de")}),
        ("opus-mt-tc-big-en-roa", "marian", {("en", "pt"), ("en", "fr")}),
        ("m2m100", "m2m100", {(a, b) for a in ("en", "pt", "jv") for b in ("en", "pt", "jv")}),
        ("madlad", "madlad", {(a, b) for a in ("en", "pt", "tl") for b in ("en", "pt", "tl")}),
        (
            "nllb-200",
            "nllb",
            {
                (a, b)
                for a in ("en", "pt", "zh", "zh-Hant", "no", "ar")
                for b in ("en", "pt", "zh", "zh-Hant", "no", "ar")
            },
        ),
    ],
)
def test_the_family_is_told_from_the_files(
    models: Path, name: str, family: str, pairs: set[tuple[str, str]]
) -> None:
    layout = detect(models / name)
    assert layout.family == family
    assert layout.pairs == {pair for pair in pairs if pair[0] != pair[1]}


@pytest.mark.parametrize(
    ("name", "source", "target", "before", "prefix"),
    [
        ("opus-mt-en-de", "en", "de", [], []),
        ("opus-mt-tc-big-en-roa", "en", "fr", [">>fra<<"], []),
        ("nllb-200", "no", "zh", ["nob_Latn"], ["zho_Hans"]),
        ("m2m100", "pt", "en", ["__pt__"], ["__en__"]),
        ("madlad", "en", "tl", ["\u2581", "<2fil>"], []),
    ],
)
def test_what_a_family_puts_around_a_sentence(
    models: Path, name: str, source: str, target: str, before: list[str], prefix: list[str]
) -> None:
    made = engine(models, name)
    made.load()
    tokens = made._encode(Sentence("Lo bade.", source, target))
    assert tokens[: len(before)] == before
    assert tokens[len(before)].startswith("\u2581")
    assert "".join(tokens[len(before) : -1]).replace("\u2581", " ").strip() == "Lo bade."
    assert tokens[-1] == "</s>"
    assert detect(models / name).target_prefix(target) == prefix


@pytest.mark.parametrize("name", ["opus-mt-en-de", "nllb-200", "madlad"])
def test_a_sentence_comes_out_the_same_in_any_company(models: Path, name: str) -> None:
    made = engine(models, name, max_batch_tokens=64)
    pairs = sorted(made.pairs)
    work = [
        Sentence(text, *pairs[number % len(pairs)])
        for number, text in enumerate([*sentences(12, 21), *sentences(3, 22, longest=60)])
    ]
    alone = [made.translate([sentence])[0] for sentence in work]
    assert all(alone)
    assert len(set(alone)) > len(alone) // 2
    assert made.translate(work) == alone
    assert made.translate(work[::-1]) == alone[::-1]
    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda one: made.translate([one])[0], work)) == alone


def test_the_target_decides_the_output(models: Path) -> None:
    made = engine(models, "nllb-200")
    (text,) = sentences(1, 30)
    written = made.translate([Sentence(text, "en", "pt"), Sentence(text, "en", "ar")])
    assert written[0] != written[1]
    assert not any(token in "".join(written) for token in ("por_Latn", "arb_Arab", "</s>"))


@pytest.mark.parametrize("name", ["opus-mt-en-de", "madlad"])
def test_a_prefix_is_leaned_to_and_not_forced(models: Path, name: str) -> None:
    made = engine(models, name)
    assert made.steerable
    pair = min(made.pairs)
    plain = [Sentence(text, *pair) for text in sentences(10, 23)]
    outputs = made.translate(plain)

    # Another sentence's translation is the prefix; the model's surer tokens win against it.
    steered = [
        one._replace(prefix=" ".join(other.split()[:4]))
        for one, other in zip(plain, outputs[1:] + outputs[:1], strict=True)
    ]
    biased = made.translate(steered)
    assert biased != outputs
    before = sum(common_prefix(o, one.prefix) for o, one in zip(outputs, steered, strict=True))
    after = sum(common_prefix(o, one.prefix) for o, one in zip(biased, steered, strict=True))
    assert before < after
    assert after < sum(len(one.prefix) for one in steered)


def test_prefixed_and_plain_sentences_may_be_mixed(models: Path) -> None:
    made = engine(models, "opus-mt-en-de", max_batch_tokens=64)
    plain = [Sentence(text, "en", "de") for text in sentences(8, 24)]
    outputs = made.translate(plain)
    mixed = [
        one if number % 3 else one._replace(prefix=outputs[number - 1][: 5 * number])
        for number, one in enumerate(plain)
    ]
    alone = [made.translate([one])[0] for one in mixed]
    assert made.translate(mixed) == alone
    assert [out for number, out in enumerate(alone) if number % 3] == [
        out for number, out in enumerate(outputs) if number % 3
    ]


def test_where_the_target_is_a_forced_token_a_prefix_changes_nothing(models: Path) -> None:
    made = engine(models, "nllb-200")
    assert not made.steerable
    sentence = Sentence("Lo bade ki.", "en", "pt")
    assert made.translate([sentence._replace(prefix="mu na")]) == made.translate([sentence])


def test_what_exceeds_the_models_positions_is_cut_and_not_truncated(models: Path) -> None:
    made = engine(models, "opus-mt-en-de")
    made.load()
    # Each of these characters is several tokens once SentencePiece has normalised it.
    text = " ".join(["\ufdfa"] * 60)
    parts = made._fit(Sentence(text, "en", "de"))
    assert len(parts) > 1
    assert " ".join(part.text for part in parts) == text
    assert all(len(made._encode(part)) <= 384 for part in parts)
    assert made.translate([Sentence(text, "en", "de")])[0]


def test_nothing_makes_nothing(models: Path) -> None:
    assert engine(models, "opus-mt-en-de").translate([]) == []


def test_a_pair_of_another_model_is_refused(models: Path) -> None:
    with pytest.raises(TranslationFailed, match="does not translate de to en"):
        engine(models, "opus-mt-en-de").translate([Sentence("Lo.", "de", "en")])


def test_a_closed_engine_loads_again(models: Path) -> None:
    made = engine(models, "opus-mt-en-de")
    sentence = Sentence("Lo bade ki.", "en", "de")
    first = made.translate([sentence])
    made.close()
    made.close()
    assert made.translate([sentence]) == first


def test_a_languages_file_says_what_the_name_does_not(models: Path) -> None:
    directory = models / "named-by-nobody"
    with pytest.raises(UnknownLayout, match=r"put a languages\.json"):
        detect(directory)
    with pytest.raises(ModelUnavailable, match=r"languages\.json"):
        CTranslate2Engine(directory)
    file = directory / "languages.json"
    try:
        write_json(file, {"sources": ["pt-BR", "es"], "targets": ["deu"]})
        assert detect(directory).pairs == {("pt", "de"), ("es", "de")}
        write_json(file, {"sources": ["en"], "targets": ["de", "fr"]})
        with pytest.raises(UnknownLayout, match="no token for the target de, fr"):
            detect(directory)
        write_json(file, {"sources": ["english"], "targets": ["de"]})
        with pytest.raises(UnknownLayout, match="not a language: english"):
            detect(directory)
        write_json(file, {"from": "en"})
        with pytest.raises(UnknownLayout, match="must be like"):
            detect(directory)
    finally:
        file.unlink()


def test_what_is_no_model_is_said_plainly(tmp_path: Path, models: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"holds no model\.bin"):
        CTranslate2Engine(tmp_path)
    (tmp_path / "model.bin").write_bytes(b"not a model")
    with pytest.raises(ModelUnavailable, match="holds no vocabulary"):
        CTranslate2Engine(tmp_path)
    write_json(tmp_path / "shared_vocabulary.json", ["eng_Latn", "por_Latn", "</s>"])
    with pytest.raises(ModelUnavailable, match="lacks its SentencePiece model"):
        CTranslate2Engine(tmp_path)
    spm = (models / "nllb-200" / "sentencepiece.bpe.model").read_bytes()
    (tmp_path / "sentencepiece.bpe.model").write_bytes(spm)
    broken = CTranslate2Engine(tmp_path, name="broken")
    with pytest.raises(ModelUnavailable, match="The model broken can't be loaded"):
        broken.load()


def test_a_replica_for_each_device(models: Path) -> None:
    made = CTranslate2Engine(
        models / "opus-mt-en-de", device="cuda", device_index=[0, 1], replicas=2, name="two"
    )
    assert made.replicas == 4
    assert made.name == "two"


@pytest.mark.gpu
@pytest.mark.parametrize("compute_type", ["float32", "float16", "int8_float16"])
def test_a_gpu_translates(models: Path, compute_type: str) -> None:
    made = CTranslate2Engine(models / "nllb-200", device="cuda", compute_type=compute_type)
    made.load()
    work = [Sentence(text, "en", "pt") for text in sentences(20, 40)]
    assert all(made.translate(work))


def test_a_new_instance_beside_one_in_use_and_one_loaded_anew_say_the_same(models: Path) -> None:
    made = engine(models, "opus-mt-en-de")
    wanted = [Sentence(text, "en", "de") for text in sentences(3, seed=5)]
    before = made.translate(wanted)
    first = made._translator
    with made._use.used():  # as a call that hangs does
        made.recover()
    assert made._translator is not first
    assert made.translate(wanted) == before
    assert made.reload(), "what hangs in the old one is in nobody's way"
    assert made.translate(wanted) == before
    made.close()
