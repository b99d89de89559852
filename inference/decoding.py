"""How Whisper is asked and when its answer is not believed. Pure functions.

Whisper is trained on 30 s windows. Its encoder takes any shorter length, which is most of the
saving in this server, but too tight a fit makes it loop. So audio gets a margin of silence and is
rounded up to one of a few lengths, and an answer that looks wrong is asked for again with all 30 s.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streaming.types import SAMPLE_RATE, Priority

HOP: Final = 160
"""Samples in a frame of the log-mel spectrogram."""

FULL: Final = 3000
"""Frames of the context Whisper was trained on: 30 s."""

BUCKETS: Final = (*range(500, 2000, 100), 2000, 2250, 2500, FULL)
"""The encoder lengths in use, in frames of 10 ms. Few, so that rows meet in batches; close enough
that rounding up wastes little."""

WIDER: Final = 1500
"""Where a final's answer from a shorter context is doubtful, it is asked for again with so much."""

MARGIN: Final[Mapping[Priority, int]] = {
    Priority.FINAL: 300,
    Priority.PARTIAL: 200,
    Priority.OFFLINE: 300,
}
"""Frames of silence after the audio. Less than 1 s makes Whisper loop often, 2 s now and then."""

FLOOR: Final[Mapping[Priority, int]] = {
    Priority.FINAL: 1000,
    Priority.PARTIAL: 500,
    Priority.OFFLINE: 1000,
}
"""Least frames. Very short contexts harm very short clips; a partial will be corrected soon."""

TOKENS_PER_SECOND: Final = 10.0
"""More than this is no speech: read English and Portuguese have at most 5."""

DENSE_TOKENS_PER_SECOND: Final = 30.0
_DENSE: Final = "am as bn bo gu hi hy ka km kn lo ml mr my ne pa sa sd si ta te th ur yi"
DENSE: Final = frozenset(_DENSE.split())
"""Languages in scripts of which Whisper's tokenizer spells out single letters, or their bytes."""

MOST_TOKENS: Final = 224
"""Half of Whisper's text context: what it was trained to emit for one window."""

FALLBACK_TEMPERATURES: Final = (0.4, 0.8)
"""Sampling temperatures tried when greedy decoding of the full context still looks wrong."""

_LONGEST_LOOP: Final = 8
"""Tokens of the longest phrase whose repetition is looked for."""

_LEAK: Final = 6
"""Tokens of a phrase that is hardly the same by chance."""

_HASTY: Final = 0.6
"""Part of :data:`TOKENS_PER_SECOND` above which a phrase that comes twice was hardly said twice."""

LIKELY_LANGUAGE: Final = 0.6
"""A language less probable than this is looked for again with full context.

Of 119 beginnings of speech, each of 1.5 s, short context knows 100. With this second look, which 26
need, it is 106, as many as full context for all would know (docs/decisions/0003).
"""

_SENTENCE_ENDS: Final = tuple(".?!。？！؟।")
_CLOSING: Final = " \"'”’»)]」』"

NO_SPEECH_PROBABILITY: Final = 0.6
NO_SPEECH_LOG_PROBABILITY: Final = -1.0
NO_SPEECH_LOG_PROBABILITY_SHORT: Final = -0.5
_SHORT: Final = round(1.2 * SAMPLE_RATE)
"""Samples, with what is kept before and after speech."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a believable answer keeps to.

    ``compression`` is of UTF-8 by zlib; ``log_probability`` a mean over new tokens.
    """

    compression: float
    log_probability: float


SHORT_LIMITS: Final = Limits(compression=2.0, log_probability=-1.0)
"""For short context. A stricter log probability was tried (−0.4 … −0.85): it has more rows redone,
and what full context then says of them is as often worse as it is better."""

FULL_LIMITS: Final = Limits(compression=2.4, log_probability=-1.0)
"""For full context: Whisper's own thresholds (Radford et al., arXiv 2212.04356, section 4.5)."""


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """One row's answer. ``log_probability`` is the mean over its tokens, end of text included."""

    tokens: tuple[int, ...]
    text: str
    log_probability: float
    no_speech_probability: float
    capped: bool = False
    """Whether it was cut off by the token cap."""


def frames_of(samples: int) -> int:
    """Mel frames that cover so many samples."""
    return -(-samples // HOP)


def bucket_for(samples: int, priority: Priority) -> int:
    """Encoder length, in frames, for so much audio. The full context for anything too long."""
    wanted = max(frames_of(samples) + MARGIN[priority], FLOOR[priority])
    return next((bucket for bucket in BUCKETS if bucket >= wanted), FULL)


def wider(bucket: int, priority: Priority) -> int:
    """The encoder length at which a doubtful answer is asked for again.

    Somebody waits for a final, and all 30 s take five times as long as half of them.
    """
    return WIDER if bucket < WIDER and priority is Priority.FINAL else FULL


def most_tokens(language: str, frames: int) -> int:
    """New tokens that speech of this length can have, generously."""
    return min(MOST_TOKENS, round(8 + _rate(language) * frames / 100))


def _rate(language: str) -> float:
    """Tokens a second, more than of any speech."""
    return DENSE_TOKENS_PER_SECOND if language in DENSE else TOKENS_PER_SECOND


def token_cap(language: str, bucket: int) -> int:
    """New tokens a row of this bucket may have, whatever its own length.

    By bucket and not by row, so that a row's answer depends little on whom it shares a batch with.
    """
    spoken = FULL if bucket == FULL else bucket - MARGIN[Priority.PARTIAL]
    return most_tokens(language, spoken)


def is_silence(decoded: Decoded, samples: int) -> bool:
    """Whether there was nothing to hear, by Whisper's own rule (arXiv 2212.04356, section 4.5).

    A click or a breath among speech is short, and gets text that fits what was said before: there
    the rule is stricter.
    """
    short = samples < _SHORT
    least = NO_SPEECH_LOG_PROBABILITY_SHORT if short else NO_SPEECH_LOG_PROBABILITY
    return decoded.no_speech_probability > NO_SPEECH_PROBABILITY and decoded.log_probability < least


def ends_sentence(text: str) -> bool:
    """Whether a text reads like a whole sentence, or several."""
    return text.rstrip(_CLOSING).endswith(_SENTENCE_ENDS) and not text.endswith("...")


def suspicion(
    decoded: Decoded, *, samples: int, limits: Limits, language: str = "en"
) -> str | None:
    """Why an answer should not be believed, or None. Silence is not suspicious."""
    if is_silence(decoded, samples) or not decoded.tokens:
        return None
    most = most_tokens(language, frames_of(samples))
    signs = {
        "token cap reached": decoded.capped,
        "too many tokens for its length": len(decoded.tokens) > most,
        "repeats itself": loops(decoded.tokens),
        "says a phrase twice in the time of one": doubles(
            decoded.tokens, most=_HASTY * _rate(language) * samples / SAMPLE_RATE
        ),
        "compresses too well": compression_ratio(decoded.text) > limits.compression,
        "improbable": decoded.log_probability < limits.log_probability,
    }
    return next((sign for sign, seen in signs.items() if seen), None)


def loops(tokens: Sequence[int]) -> bool:
    """Whether tokens go round in circles, as Whisper's do when it fails.

    That is: some trigram occurs three times; or two or more tokens come three times on end, or two
    and a half times and there is nothing else.
    """
    seen: dict[tuple[int, ...], int] = {}
    for start in range(len(tokens) - 2):
        trigram = tuple(tokens[start : start + 3])
        seen[trigram] = seen.get(trigram, 0) + 1
        if seen[trigram] > 2:  # noqa: PLR2004 - the rule itself
            return True
    longest = min(len(tokens) // 3, _LONGEST_LOOP)
    return _only_repeats(tokens) or any(
        tokens[start : start + 2 * size] == tokens[start + size : start + 3 * size]
        for size in range(2, longest + 1)
        for start in range(len(tokens) - 3 * size + 1)
    )


def doubles(tokens: Sequence[int], *, most: float) -> bool:
    """Whether a phrase comes twice, in more than ``most`` tokens.

    A refrain or a response does so as well, but takes twice the time.
    """
    if len(tokens) <= most:
        return False
    first: dict[tuple[int, ...], int] = {}
    return any(
        start - first.setdefault(tuple(tokens[start : start + _LEAK]), start) >= _LEAK
        for start in range(len(tokens) - _LEAK + 1)
    )


def _only_repeats(tokens: Sequence[int]) -> bool:
    """Whether all tokens are one phrase of two or more, two and a half times or more often."""
    most = min(2 * len(tokens) // 5, _LONGEST_LOOP)
    return any(tokens[size:] == tokens[:-size] for size in range(2, most + 1))


def leaks(tokens: Sequence[int], prompt: Sequence[int]) -> bool:
    """Whether an answer repeats a phrase of the text it was given as context.

    Somebody may have said it twice: then it will be heard without the context as well.
    """
    size = _LEAK
    given = {tuple(prompt[start : start + size]) for start in range(len(prompt) - size + 1)}
    return any(
        tuple(tokens[start : start + size]) in given for start in range(len(tokens) - size + 1)
    )


def compression_ratio(text: str) -> float:
    """Bytes of a text over its zlib-compressed bytes, 0 for an empty one. Loops score high."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def better(first: Decoded, second: Decoded, *, samples: int, language: str = "en") -> Decoded:
    """The more believable of two answers to the same audio; ``second`` if they are alike."""

    def rank(decoded: Decoded) -> tuple[bool, float]:
        doubt = suspicion(decoded, samples=samples, limits=FULL_LIMITS, language=language)
        return doubt is None, decoded.log_probability

    return first if rank(first) > rank(second) else second


def choose_language(
    probabilities: Mapping[str, float], *, hint: str | None, seconds: float
) -> tuple[str, float]:
    """The language spoken and its probability.

    A session stays in its language (``hint``) unless the audio clearly says otherwise: a single
    utterance is often misheard, and a caption that flips its language is worse than a late switch.
    Less than 1 s of audio never switches, less than 3 s only when it is all but certain.
    """
    best = max(probabilities, key=probabilities.__getitem__)
    if hint is None or hint not in probabilities or hint == best:
        return best, probabilities[best]
    if seconds < 1.0:
        needed = 1.1
    elif seconds < 3.0:  # noqa: PLR2004 - documented above
        needed = 0.95
    else:
        needed = 0.8
    chosen = best if probabilities[best] >= needed else hint
    return chosen, probabilities[chosen]
