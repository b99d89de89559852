from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.decoding import (
    BUCKETS,
    FLOOR,
    FULL,
    FULL_LIMITS,
    HOP,
    MARGIN,
    MOST_TOKENS,
    SHORT_LIMITS,
    Decoded,
    better,
    bucket_for,
    choose_language,
    compression_ratio,
    ends_sentence,
    frames_of,
    is_silence,
    leaks,
    loops,
    suspicion,
    token_cap,
    wider,
)
from streaming.types import SAMPLE_RATE, Priority

SECONDS = st.floats(0.0, 30.0)


def decoded(
    text: str = "good morning to you all",
    *,
    tokens: tuple[int, ...] = (1, 2, 3, 4, 5),
    log_probability: float = -0.2,
    no_speech: float = 0.0,
    capped: bool = False,
) -> Decoded:
    return Decoded(tokens, text, log_probability, no_speech, capped)


def doubt(answer: Decoded, seconds: float = 2.0) -> str | None:
    return suspicion(answer, samples=round(seconds * SAMPLE_RATE), limits=SHORT_LIMITS)


@given(seconds=SECONDS, priority=st.sampled_from(Priority))
def test_a_bucket_holds_the_audio_and_its_margin(seconds: float, priority: Priority) -> None:
    samples = int(seconds * SAMPLE_RATE)
    bucket = bucket_for(samples, priority)
    assert bucket in BUCKETS
    assert bucket >= FLOOR[priority]
    assert bucket * HOP >= samples
    assert bucket == FULL or bucket >= frames_of(samples) + MARGIN[priority]


@given(first=SECONDS, second=SECONDS, priority=st.sampled_from(Priority))
def test_more_audio_never_gets_less_context(
    first: float, second: float, priority: Priority
) -> None:
    shorter, longer = sorted((int(first * SAMPLE_RATE), int(second * SAMPLE_RATE)))
    assert bucket_for(shorter, priority) <= bucket_for(longer, priority)
    assert bucket_for(shorter, Priority.PARTIAL) <= bucket_for(shorter, Priority.FINAL)


def test_frames_cover_all_samples() -> None:
    assert [frames_of(samples) for samples in (0, 1, 160, 161)] == [0, 1, 1, 2]


def test_token_caps_grow_and_stay_within_the_model() -> None:
    caps = [token_cap("en", bucket) for bucket in BUCKETS]
    assert caps == sorted(caps)
    assert caps[-1] == MOST_TOKENS
    # Nobody speaks faster than this, and a loop ends here.
    assert token_cap("en", 800) == 68
    # Hindi is spelt by the letter.
    assert token_cap("hi", 800) == 188


def test_what_looks_right_is_believed() -> None:
    assert doubt(decoded()) is None
    assert doubt(decoded("", tokens=())) is None


@pytest.mark.parametrize(
    ("answer", "sign"),
    [
        (decoded(capped=True), "token cap"),
        (decoded(tokens=tuple(range(40))), "too many tokens"),
        (decoded(tokens=(1, 2, 3) * 3), "repeats"),
        (decoded("and then " * 30), "compresses"),
        (decoded(log_probability=-1.1), "improbable"),
    ],
)
def test_what_looks_wrong_is_doubted(answer: Decoded, sign: str) -> None:
    found = doubt(answer)
    assert found is not None
    assert sign in found


def test_full_context_is_doubted_less() -> None:
    dull = decoded("Good morning and welcome. " * 3)
    assert 2.0 < compression_ratio(dull.text) < 2.4
    assert suspicion(dull, samples=32_000, limits=FULL_LIMITS) is None
    assert suspicion(dull, samples=32_000, limits=SHORT_LIMITS) == "compresses too well"


def test_a_phrase_said_twice_is_no_loop() -> None:
    assert not loops((1, 2, 3, 4, 1, 2, 3, 5))
    assert loops((1, 2, 3, 4, 1, 2, 3, 5, 1, 2, 3))
    assert not loops((1, 2))
    assert loops((9, 1, 2, 1, 2, 1, 2)), "two tokens, three times on end"
    assert not loops((9, 1, 2, 1, 2, 1, 3))
    assert not loops((7, 7, 7, 7)), "no, no, no, no"
    assert loops((9, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5))


def test_an_answer_that_is_nothing_but_a_phrase_said_again_loops() -> None:
    assert loops((1, 2, 1, 2, 1)), "replied he replied he replied"
    assert loops((1, 2, 3, 1, 2, 3, 1, 2))
    assert not loops((1, 2, 1, 2)), "bye-bye, bye-bye"
    assert not loops((1, 2, 3, 1, 2, 3, 1))


def test_a_sentence_said_twice_is_doubted_only_where_there_is_time_for_one() -> None:
    sentence = tuple(range(20))
    twice = decoded(tokens=(*sentence, *sentence))
    assert doubt(twice, seconds=5.6) == "says a phrase twice in the time of one"
    assert doubt(twice, seconds=8.0) is None, "a refrain"
    again = decoded(tokens=(*sentence, 97, 98, 99, *sentence[2:]))
    assert doubt(again, seconds=5.6) == "says a phrase twice in the time of one", "And the …"
    assert doubt(decoded(tokens=tuple(range(40))), seconds=5.6) is None, "a fast speaker"
    short = decoded(tokens=(1, 2, 3, 4, 5, 1, 2, 3, 4, 5))
    assert doubt(short, seconds=1.5) is None, "thank you very much, thank you very much"
    thai = suspicion(twice, samples=round(5.6 * SAMPLE_RATE), limits=SHORT_LIMITS, language="th")
    assert thai is None, "tokens of letters"


@pytest.mark.parametrize(
    ("seconds", "no_speech", "log_probability", "silent"),
    [
        (5.0, 0.8, -1.2, True),
        (5.0, 0.8, -0.9, False),
        (5.0, 0.3, -1.2, False),
        (0.7, 0.8, -0.9, True),
        (0.7, 0.8, -0.3, False),
        (0.7, 0.3, -0.9, False),
    ],
)
def test_a_short_sound_is_sooner_taken_for_nothing(
    seconds: float, no_speech: float, log_probability: float, silent: bool
) -> None:
    answer = decoded(no_speech=no_speech, log_probability=log_probability)
    assert is_silence(answer, round(seconds * SAMPLE_RATE)) == silent


def test_leaks_of_the_context() -> None:
    prompt = tuple(range(20))
    assert leaks((99, *range(4, 10), 98), prompt)
    assert not leaks((99, *range(4, 9), 98), prompt), "a few words in common"
    assert not leaks((), prompt)
    assert not leaks(prompt, ())


def test_compression_ratio() -> None:
    assert compression_ratio("") == 0.0
    assert compression_ratio("no no no " * 40) > 5.0
    assert compression_ratio("Good morning.") < 2.0


def test_the_more_believable_answer_wins() -> None:
    good, worse, loop = (
        decoded(log_probability=-0.2),
        decoded(log_probability=-0.6),
        decoded(tokens=(1, 2, 3) * 5, log_probability=-0.01),
    )
    assert better(worse, good, samples=64_000) is good
    assert better(good, worse, samples=64_000) is good
    assert better(loop, worse, samples=64_000) is worse
    assert better(worse, loop, samples=64_000) is worse


def test_a_session_without_a_language_takes_the_likeliest() -> None:
    assert choose_language({"en": 0.4, "pt": 0.6}, hint=None, seconds=0.5) == ("pt", 0.6)


@pytest.mark.parametrize(
    ("probability", "seconds", "chosen"),
    [
        (0.99, 0.5, "en"),
        (0.99, 2.0, "pt"),
        (0.9, 2.0, "en"),
        (0.9, 5.0, "pt"),
        (0.7, 5.0, "en"),
    ],
)
def test_a_session_keeps_its_language_unless_it_is_clear(
    probability: float, seconds: float, chosen: str
) -> None:
    probabilities = {"en": 1 - probability, "pt": probability}
    language, confidence = choose_language(probabilities, hint="en", seconds=seconds)
    assert language == chosen
    assert math.isclose(confidence, probabilities[chosen])


def test_a_hint_the_model_does_not_know_is_no_hint() -> None:
    assert choose_language({"en": 0.4, "pt": 0.6}, hint="tlh", seconds=9.0) == ("pt", 0.6)


def test_a_final_is_redone_wider_and_a_file_with_all_there_is() -> None:
    assert wider(1000, Priority.FINAL) == 1500
    assert wider(1500, Priority.FINAL) == FULL
    assert wider(1000, Priority.OFFLINE) == FULL


def test_ends_of_sentences() -> None:
    for text in ("Good morning.", "Really?", 'He said "no."', "はい。", "No!"):
        assert ends_sentence(text)
    for text in ("", "Good morning", "Well,", "And then...", "And then…", '"'):
        assert not ends_sentence(text)
