"""Batches of rows: each is treated as if it were alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from faster_whisper.feature_extractor import FeatureExtractor
from threadpoolctl import threadpool_info

from bench.corpus import normalize
from inference import whisper_engine
from inference.decoding import FULL, Limits, bucket_for
from inference.observing import RecognitionBatch
from inference.whisper_engine import WhisperEngine
from inference.whisper_rows import Row, Work
from inference.whisper_tokens import WhisperTokens
from streaming.errors import RecognitionFailed
from streaming.types import (
    SAMPLE_RATE,
    Hypothesis,
    Priority,
    RecognitionJob,
)
from tests.inference.whispers import job
from tests.speech import audioeval_clips


def recognised(engine: WhisperEngine, rows: Sequence[Row]) -> list[Hypothesis]:
    """What was heard in rows none of which fails."""
    answers = engine.run(rows)
    assert all(isinstance(answer, Hypothesis) for answer in answers)
    return [answer for answer in answers if isinstance(answer, Hypothesis)]


def row(job: RecognitionJob, prompt: tuple[int, ...] = ()) -> Row:
    return Row(job, bucket_for(len(job.audio), job.priority), prompt)


def test_a_row_is_the_same_alone_and_in_a_batch(engine: WhisperEngine) -> None:
    """Different sessions, lengths, languages and tasks; one group."""
    rows = [
        row(job(clip.audio(), clip.id, language=clip.lang, task=task, words=True))
        for lang, task in (("en", "transcribe"), ("pt", "transcribe"), ("fr", "translate"))
        for clip in audioeval_clips(lang)[:2]
    ]
    assert len({row.group for row in rows}) == 1
    together = recognised(engine, rows)
    for one, shared in zip(rows, together, strict=True):
        (alone,) = recognised(engine, [one])
        assert shared.text == alone.text
        assert shared.language == alone.language
        assert shared.confidence == pytest.approx(alone.confidence, abs=0.02)
        assert shared.words is not None
        assert alone.words is not None
        assert [word.text for word in shared.words] == [word.text for word in alone.words]
        for here, there in zip(shared.words, alone.words, strict=True):
            assert here.start == pytest.approx(there.start, abs=0.1)
        assert "".join(word.text for word in shared.words) == shared.text


def test_the_spectrogram_is_that_of_audio_and_silence(engine: WhisperEngine) -> None:
    audio = audioeval_clips("en")[0].audio()
    whole = FeatureExtractor()(np.pad(audio, (0, 1200 * 160 - len(audio))), padding=0)
    np.testing.assert_allclose(engine.mel(audio, 1200), whole, atol=1e-5)
    longest = np.tile(audio, 30)[: 30 * SAMPLE_RATE]
    assert engine.mel(longest, FULL).shape == (80, FULL)


def test_no_threads_of_blas_spin_beside_the_workers(engine: WhisperEngine) -> None:
    engine.run([row(job(np.zeros(SAMPLE_RATE, dtype=np.float32)))])
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert pools
    assert {pool["num_threads"] for pool in pools} == {1}


def test_the_language_is_found(engine: WhisperEngine) -> None:
    found = [clip for lang in ("es", "en", "fr") for clip in audioeval_clips(lang)]
    clips = [clip for clip in found if len(clip.audio()) > 2.5 * SAMPLE_RATE]
    assert len(clips) > 4
    rows = [row(job(clip.audio(), clip.id, language=None)) for clip in clips]
    for clip, heard in zip(clips, recognised(engine, rows), strict=True):
        assert heard.language == clip.lang
        assert heard.language_probability > 0.5

    # Three seconds of Spanish that short context takes for English, Spanish or Latin, by a hair and
    # so by the processor; full context is sure.
    unclear = next(clip for clip in audioeval_clips("es") if clip.id == "es/pangrama")
    (final,) = recognised(engine, [row(job(unclear.audio(), language=None))])
    assert final.language == "es"
    assert final.language_probability > 0.7
    (hinted,) = recognised(engine, [row(job(unclear.audio(), language=None, language_hint="es"))])
    assert (hinted.language, hinted.redone) == ("es", False)


def test_a_doubtful_language_gets_a_second_look_and_only_what_was_wrong_is_decoded_again(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    english, french = audioeval_clips("en")[1], audioeval_clips("fr")[0]
    look = WhisperEngine._choose_languages
    looks: list[tuple[int, int]] = []

    def doubtful_at_first(engine: WhisperEngine, works: Sequence[Work], encoded: Any) -> None:
        looks.append((len(works), 2 * encoded.shape[1]))
        look(engine, works, encoded)
        if len(looks) == 1:
            for work in works:
                work.language, work.language_probability = "en", 0.55

    monkeypatch.setattr(WhisperEngine, "_choose_languages", doubtful_at_first)
    rows = [row(job(clip.audio(), clip.id, language=None)) for clip in (english, french)]
    heard = recognised(engine, rows)
    assert looks == [(2, rows[0].bucket), (2, FULL)]
    assert [one.language for one in heard] == ["en", "fr"]
    assert [one.redone for one in heard] == [False, True]
    monkeypatch.undo()
    for clip, one in zip((english, french), heard, strict=True):
        (known,) = recognised(engine, [row(job(clip.audio(), language=clip.lang))])
        assert normalize(one.text, clip.lang) == normalize(known.text, clip.lang)


def test_detection_in_a_mixed_batch_leaves_fixed_languages_alone(engine: WhisperEngine) -> None:
    french = audioeval_clips("fr")[0].audio()
    rows = [row(job(french, language="en")), row(job(french, language=None))]
    fixed, found = recognised(engine, rows)
    assert (fixed.language, fixed.language_probability) == ("en", 1.0)
    assert found.language == "fr"


@pytest.mark.parametrize("lang", ["zh", "ja", "hi", "pl"])
def test_words_join_in_any_script(engine: WhisperEngine, lang: str) -> None:
    for clip in audioeval_clips(lang):
        (heard,) = recognised(engine, [row(job(clip.audio(), language=lang, words=True))])
        assert heard.words is not None
        assert "".join(word.text for word in heard.words) == heard.text
        assert "\ufffd" not in heard.text


def test_a_doubted_row_is_redone_and_its_mates_are_not(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = audioeval_clips("en")[1:]
    rows = [row(job(clip.audio(), clip.id)) for clip in (first, second)]
    confidences = [heard.confidence for heard in recognised(engine, rows)]
    between = float(np.mean(confidences))
    monkeypatch.setattr(
        whisper_engine, "SHORT_LIMITS", Limits(compression=2.0, log_probability=math.log(between))
    )
    heard = recognised(engine, rows)
    assert [answer.redone for answer in heard] == [value < between for value in confidences]
    assert sum(answer.redone for answer in heard) == 1
    for clip, answer in zip((first, second), heard, strict=True):
        assert normalize(answer.text, "en") == normalize(clip.text or "", "en")


def test_what_stays_doubtful_is_sampled_and_the_best_is_kept(
    engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    never = Limits(compression=2.0, log_probability=0.0)
    monkeypatch.setattr(whisper_engine, "SHORT_LIMITS", never)
    monkeypatch.setattr(whisper_engine, "FULL_LIMITS", never)
    temperatures: list[float] = []
    generate = engine._generate

    def watched(*args: Any, **kwargs: Any) -> Any:
        temperatures.append(kwargs.get("temperature", 0.0))
        return generate(*args, **kwargs)

    monkeypatch.setattr(engine, "_generate", watched)
    clip = audioeval_clips("en")[2]
    (final,) = recognised(engine, [row(job(clip.audio(), words=True))])
    assert temperatures == [0.0, 0.0, 0.4, 0.8]
    assert normalize(final.text, "en") == normalize(clip.text or "", "en")
    assert final.words
    temperatures.clear()
    (partial,) = engine.run([row(job(clip.audio(), priority=Priority.PARTIAL))])
    assert isinstance(partial, RecognitionFailed), "a wrong partial is worse than none"
    assert temperatures == [0.0], "and the next one is on its way"


def test_prompts_of_one_length_share_a_batch(engine: WhisperEngine, tokens: WhisperTokens) -> None:
    audio = audioeval_clips("en")[0].audio()
    texts = "one two three four five six " * 3, "seven eight nine ten eleven twelve " * 3
    prompts = [tokens.prompt((), text) for text in texts]
    assert {len(prompt) for prompt in prompts} == {16}
    rows = [row(job(audio, str(number)), prompt) for number, prompt in enumerate(prompts)]
    assert rows[0].group == rows[1].group != row(job(audio)).group
    assert all(heard.text for heard in recognised(engine, rows))


def test_context_that_would_be_repeated_is_left_out(
    engine: WhisperEngine, tokens: WhisperTokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = audioeval_clips("en")[2]
    (alone,) = recognised(engine, [row(job(clip.audio()))])
    said = tokens.prompt((), f"{alone.text} " * 3)
    (again,) = recognised(engine, [row(job(clip.audio()), said)])
    assert again.text == alone.text, "it was really said again"
    prompted: list[bool] = []
    generate = engine._generate

    def watched(*arguments: Any, **options: Any) -> Any:
        prompted.append(options.get("prompted", True))
        return generate(*arguments, **options)

    monkeypatch.setattr(engine, "_generate", watched)
    other = audioeval_clips("en")[0]
    told: list[RecognitionBatch] = []
    monkeypatch.setattr(engine, "observe", told.append)
    recognised(engine, [row(job(clip.audio()), said), row(job(other.audio(), "other"), said)])
    assert prompted == [True, False]
    assert told[0].guards == ("repeats its context",)

    prompted.clear()
    favoured = row(job(clip.audio()), said)
    favoured.favoured = len(said)
    recognised(engine, [favoured])
    assert prompted == [True], "words to favour are meant to be heard"


def test_finals_tell_how_surely_they_end_a_sentence(engine: WhisperEngine) -> None:
    clip = audioeval_clips("en")[2]
    (whole,) = recognised(engine, [row(job(clip.audio()))])
    assert whole.text.endswith(".")
    assert 0.5 < whole.ending <= 1.0
    (half,) = recognised(engine, [row(job(clip.audio()[: len(clip.audio()) // 2]))])
    assert half.ending < whole.ending
    (partial,) = recognised(engine, [row(job(clip.audio(), priority=Priority.PARTIAL))])
    assert partial.ending == 0.0, "nobody asks"


def test_each_batch_is_told(engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[RecognitionBatch] = []
    monkeypatch.setattr(engine, "observe", told.append)
    clips = audioeval_clips("en")[1:]
    rows = [row(job(clip.audio(), clip.id)) for clip in clips]
    recognised(engine, rows)
    (batch,) = told
    assert (batch.priority, batch.rows, batch.frames) == (Priority.FINAL, 2, rows[0].bucket)
    spoken = sum(len(clip.audio()) / SAMPLE_RATE for clip in clips)
    assert batch.padding_frames / 100 == pytest.approx(2 * batch.frames / 100 - spoken, abs=0.02)
    assert batch.encode_seconds > 0
    assert batch.decode_seconds > 0
    assert (batch.widened, batch.sampled, batch.guards) == (0, 0, ())


def test_what_was_doubted_is_told(engine: WhisperEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[RecognitionBatch] = []
    monkeypatch.setattr(engine, "observe", told.append)
    never = Limits(compression=2.0, log_probability=0.0)
    monkeypatch.setattr(whisper_engine, "SHORT_LIMITS", never)
    monkeypatch.setattr(whisper_engine, "FULL_LIMITS", never)
    audio = audioeval_clips("en")[2].audio()
    recognised(engine, [row(job(audio))])
    engine.run([row(job(audio, priority=Priority.PARTIAL))])
    final, partial = told
    assert (final.widened, final.sampled, final.guards) == (1, 1, ("improbable",))
    assert (partial.widened, partial.sampled, partial.guards) == (0, 0, ("improbable",))
    assert partial.priority is Priority.PARTIAL
