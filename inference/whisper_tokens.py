"""Whisper's text side: start sequences, prompts, suppressed tokens, words from alignments."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import tokenizers
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import merge_punctuations

from streaming.types import SAMPLE_RATE, Task, Word

VOCABULARY_TOKENS: Final = 64
CONTEXT_TOKENS: Final = 48
"""Most tokens of previous text: a sentence or two. More takes longer than it helps."""

_PROMPT_STEP: Final = 16
_PROMPT_CHARACTERS: Final = 1000  # bounds what is tokenised, whatever a client sends
_PREPENDED: Final = "\"'“¿([{-"
_APPENDED: Final = "\"'.。,，!！?？:：”)]}、"
_SECONDS_PER_STEP: Final = 0.02  # of the alignment


class WhisperTokens:
    """The tokenizer of one model. Thread-safe."""

    def __init__(self, path: Path, *, multilingual: bool) -> None:
        """``path`` is the model directory, with its ``tokenizer.json``."""
        self._hub = tokenizers.Tokenizer.from_file(str(path / "tokenizer.json"))
        # What clients send is text, also where it looks like a control token.
        self._hub.encode_special_tokens = True
        self.multilingual = multilingual
        self._plain = Tokenizer(self._hub, multilingual, task="transcribe", language="en")
        self.eot: int = self._plain.eot
        self.languages = self._languages() if multilingual else frozenset({"en"})
        self.suppressed = self._suppressed()
        self._for = lru_cache(maxsize=256)(self._make)
        # The partials of an utterance all have the same.
        self.prompt = lru_cache(maxsize=1024)(self._prompt)

    def start(self, language: str, task: Task) -> list[int]:
        """The start sequence: start of transcript and, if multilingual, language and task."""
        return list(self._for(language, task).sot_sequence)

    def full_prompt(self, prompt: Sequence[int], language: str, task: Task) -> list[int]:
        """Previous text, start sequence, and that no timestamps are wanted."""
        before = [self._plain.sot_prev, *prompt] if prompt else []
        return [*before, *self.start(language, task), self._plain.no_timestamps]

    def _prompt(self, vocabulary: tuple[str, ...], previous: str) -> tuple[int, ...]:
        """Previous-text tokens that favour some words and continue some text.

        Of the text the newest is kept, so much that there are few lengths: a batch has one.
        """
        favoured = self._encode(", ".join(vocabulary)[:_PROMPT_CHARACTERS])[:VOCABULARY_TOKENS]
        context = self._encode(previous[-_PROMPT_CHARACTERS:])[-CONTEXT_TOKENS:]
        total = (len(favoured) + len(context)) // _PROMPT_STEP * _PROMPT_STEP
        kept = max(0, total - len(favoured))
        return (*favoured, *(context[-kept:] if kept else ()))

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, as decoded: with its leading space."""
        return str(self._plain.decode(list(tokens)))

    def words(
        self, tokens: Sequence[int], alignment: Any, *, language: str, task: Task, samples: int
    ) -> tuple[Word, ...]:
        """Timed words from CTranslate2's alignment, as faster-whisper finds them.

        Their texts join to the stripped text; times are clipped to the audio and never run back.
        """
        tokenizer = self._for(language, task)
        texts, groups = tokenizer.split_to_word_tokens([*tokens, self.eot])
        if len(groups) <= 1 or not alignment.alignments:
            return ()
        bounds = np.cumsum([0, *(len(group) for group in groups[:-1])])
        text_steps, time_steps = np.array(alignment.alignments).T
        jumps = np.diff(text_steps, prepend=text_steps[0] - 1).astype(bool)
        times = np.minimum(time_steps[jumps] * _SECONDS_PER_STEP, samples / SAMPLE_RATE)
        found = [
            {
                "word": text,
                "tokens": list(group),
                "start": float(times[start]),
                "end": float(times[end]),
                "probability": float(np.mean(alignment.text_token_probs[start:end])),
            }
            for text, group, start, end in zip(
                texts[:-1], groups[:-1], bounds[:-1], bounds[1:], strict=True
            )
        ]
        merge_punctuations(found, _PREPENDED, _APPENDED)
        return _tidied(found)

    def _encode(self, text: str) -> list[int]:
        text = " ".join(text.split())
        return list(self._plain.encode(" " + text)) if text else []

    def _make(self, language: str, task: Task) -> Tokenizer:
        return Tokenizer(self._hub, self.multilingual, task=task, language=language)

    def _languages(self) -> frozenset[str]:
        """Language tokens lie between start of transcript and the first task token."""
        first, last = self._plain.sot + 1, min(self._plain.translate, self._plain.transcribe)
        names = (self._hub.id_to_token(token) for token in range(first, last))
        return frozenset(name.strip("<|>") for name in names if name)

    def _suppressed(self) -> list[int]:
        """What faster-whisper suppresses by default: non-speech symbols and control tokens."""
        plain = self._plain
        control = (
            plain.transcribe,
            plain.translate,
            plain.sot,
            plain.sot_prev,
            plain.sot_lm,
            plain.no_speech,
        )
        return sorted({*plain.non_speech_tokens, *(t for t in control if t is not None)})


def _tidied(found: Sequence[dict[str, Any]]) -> tuple[Word, ...]:
    kept = [word for word in found if word["word"].strip()]
    words: list[Word] = []
    clock = 0.0
    for index, word in enumerate(kept):
        text = word["word"]
        text = text.lstrip() if index == 0 else text
        text = text.rstrip() if index == len(kept) - 1 else text
        start = max(clock, word["start"])
        clock = max(start, word["end"])
        words.append(Word(text, round(start, 3), round(clock, 3), word["probability"]))
    return tuple(words)
