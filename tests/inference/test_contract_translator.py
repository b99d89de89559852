"""What every ``Translator`` does, the fake and the real ones alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inference.bergamot import BergamotEngine
from inference.ct2_translation import CTranslate2Engine
from inference.fakes import FakeTranslator
from inference.translator import TextTranslator
from streaming.errors import PairUnsupported, SurtitleError
from streaming.ports import Translator
from streaming.types import Priority, TranslationJob
from tests.inference.remote_server import service
from tests.inference.remotes import remote
from tests.inference.tiny_models import special_first, train_sentencepiece, write_ct2_model


def job(
    text: str,
    pair: tuple[str, str],
    *,
    session: str = "session",
    revision: int = 1,
    priority: Priority = Priority.FINAL,
) -> TranslationJob:
    return TranslationJob(session, 1, revision, text, *pair, priority)


@pytest.fixture(
    params=["fake", "bergamot", "ctranslate2", "both, pivoting", "libretranslate", "chat"]
)
async def translator(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Translator]:
    if request.param == "fake":
        yield FakeTranslator()
        return
    if request.param in ("libretranslate", "chat"):
        here = TextTranslator([BergamotEngine()])
        here.start()
        async with service(here) as elsewhere:
            made = TextTranslator([], [remote(request.param, elsewhere.url)])
            assert await made.refresh()
            yield made
            await made.close()
        await here.close()
        return
    engines: list[BergamotEngine | CTranslate2Engine] = []
    if request.param != "ctranslate2":
        engines.append(BergamotEngine())
    if request.param != "bergamot":
        model = tmp_path / "opus-mt-en-de"
        model.mkdir()
        pieces = [
            *train_sentencepiece(model / "source.spm", seed=1),
            *train_sentencepiece(model / "target.spm", seed=2),
        ]
        write_ct2_model(model, special_first(pieces, "</s>", "<unk>"), seed=3)
        engines.append(CTranslate2Engine(model, device="cpu", compute_type="float32"))
    made = TextTranslator(engines)
    await asyncio.to_thread(made.warm_up)
    made.start()
    yield made
    await made.close()


async def test_every_pair_it_names_is_done(translator: Translator) -> None:
    assert translator.pairs
    for pair in translator.pairs:
        done = await translator.translate(job("Bade kilo mu.", pair))
        assert done.text.strip()
        assert done.engine


async def test_other_pairs_are_refused(translator: Translator) -> None:
    with pytest.raises(PairUnsupported) as caught:
        await translator.translate(job("Bade kilo mu.", ("sw", "fi")))
    assert caught.value.code == "pair_unsupported"


async def test_blank_stays_blank(translator: Translator) -> None:
    for text in ("", " ", "\n"):
        done = await translator.translate(job(text, min(translator.pairs)))
        assert not done.text.strip()


async def test_the_same_text_gives_the_same_translation(translator: Translator) -> None:
    pair = min(translator.pairs)
    first = await translator.translate(job("Bade kilo mu.", pair, session="a"))
    second = await translator.translate(job("Bade kilo mu.", pair, session="b"))
    assert first == second


async def test_company_makes_no_difference(translator: Translator) -> None:
    pair = min(translator.pairs)
    texts = [f"Bade {'kilo ' * number}mu." for number in range(1, 12)]
    alone = [await translator.translate(job(text, pair)) for text in texts]
    together = await asyncio.gather(
        *(translator.translate(job(text, pair, session=text)) for text in texts)
    )
    assert list(together) == alone


async def test_partials_end_in_a_result_or_a_known_error(translator: Translator) -> None:
    pair = min(translator.pairs)
    results = await asyncio.gather(
        *(
            translator.translate(
                job(f"Bade {'po ' * n}", pair, revision=n, priority=Priority.PARTIAL)
            )
            for n in range(12)
        ),
        return_exceptions=True,
    )
    assert all(
        result.code == "superseded" for result in results if isinstance(result, SurtitleError)
    )
    assert not any(
        isinstance(result, BaseException) and not isinstance(result, SurtitleError)
        for result in results
    )
    assert not isinstance(results[-1], BaseException)  # the newest always gets its answer


async def test_a_cancelled_call_leaves_the_others_alone(translator: Translator) -> None:
    pair = min(translator.pairs)
    cancelled = asyncio.ensure_future(translator.translate(job("Bade kilo.", pair, session="a")))
    kept = asyncio.ensure_future(translator.translate(job("Bade mu.", pair, session="b")))
    await asyncio.sleep(0)
    cancelled.cancel()
    assert (await kept).text.strip()
    assert (await asyncio.gather(cancelled, return_exceptions=True))[0] is not None
