"""Whisper on CTranslate2: one blocking call for a batch of rows of any sessions.

Every row is treated as if it were alone: log-mel per utterance (its floor is relative to the
loudest frame), padding by the row's own length, its own prompt, language, task and limits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import ctranslate2
import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor

from inference.decoding import (
    FALLBACK_TEMPERATURES,
    FULL,
    FULL_LIMITS,
    HOP,
    SHORT_LIMITS,
    Decoded,
    choose_language,
    ends_sentence,
    frames_of,
    token_cap,
    wider,
)
from inference.exclusive import Exclusive
from inference.observing import BatchObserver, unobserved
from inference.whisper_rows import Mel, Row, Work, report
from inference.whisper_tokens import WhisperTokens
from streaming.errors import RecognitionFailed, SurtitleError
from streaming.types import (
    SAMPLE_RATE,
    Audio,
    Hypothesis,
    Task,
    Timing,
)

_MAX_LENGTH: Final = 448
_TYPICAL_TOKENS: Final = 24
_SAMPLES: Final = 3  # hypotheses drawn at a fallback temperature
_MOMENT: Final = 0.005
_RELOAD_SECONDS: Final = 5.0
"""How long others may take to come to an end before a model is loaded anew."""


class WhisperEngine:
    """A loaded model. ``run`` is blocking and may be called from several threads at once."""

    def __init__(self, model: ctranslate2.models.Whisper, tokens: WhisperTokens) -> None:
        self._model = model
        self._use = Exclusive()
        self._tokens = tokens
        self._extract: Callable[..., Mel] = FeatureExtractor(feature_size=model.n_mels)
        self.observe: BatchObserver = unobserved
        """Is told of each batch that was done."""

    def run(self, rows: Sequence[Row]) -> Sequence[Hypothesis | SurtitleError]:
        """Recognise rows of one group, in order."""
        with self._use.used():
            if self._model.model_is_loaded:
                return self._run(rows)
        if not self.reload():  # there was no memory for it the last time
            raise RecognitionFailed("The model is being loaded.")
        return self.run(rows)

    def reload(self) -> bool:
        """Load the model anew, which frees all memory it has taken. Blocking.

        False when other threads don't come to an end with it.
        """
        with self._use.alone(_RELOAD_SECONDS) as alone:
            # `encode` would not notice that the model is away: nobody may be in it.
            if not (alone and self._unload()):
                return False
            self._model.load_model()
            return True

    def _unload(self) -> bool:
        """Whether the library does it: only while none of its own workers is at work, and without
        a word if one is. They are for a moment after their call has returned.
        """
        end = time.monotonic() + _RELOAD_SECONDS
        while True:
            self._model.unload_model()
            if not self._model.model_is_loaded:
                return True
            if time.monotonic() > end:
                return False
            time.sleep(_MOMENT)

    def _run(self, rows: Sequence[Row]) -> Sequence[Hypothesis | SurtitleError]:
        began = time.monotonic()
        works = [Work(row, self.mel(row.job.audio, row.bucket)) for row in rows]
        self._decode(works, rows[0].bucket)
        self._forget_leaks(works)
        final = rows[0].final
        if final:
            self._redo([work for work in works if not work.row.probe])
        self._align([work for work in works if work.row.job.words or work.awaited])
        encoded = works[0].encode_seconds
        decoded = time.monotonic() - began - encoded
        answers: list[Hypothesis | SurtitleError] = []
        for work in works:
            # The next partial is on its way: better none than a wrong one, or a slow one.
            doubt = None if final else work.doubt(FULL_LIMITS)
            if doubt is None:
                timing = Timing(work.row.waited, encoded, decoded)
                answers.append(work.hypothesis(timing))
            else:
                work.guards.append(doubt)
                error = f"this partial is not to be believed: {doubt}"
                answers.append(RecognitionFailed(error))
        self.observe(report(works, encoded, decoded))
        return answers

    def warm(self, bucket: int) -> None:
        """Run one decode of an encoder length, so that its kernels and buffers are ready."""
        noise = np.random.default_rng(0).normal(0.0, 1e-3, SAMPLE_RATE).astype(np.float32)
        encoded = self._encode([self.mel(noise, bucket)])
        prompt = self._tokens.full_prompt((), "en", "transcribe")
        self._model.generate(encoded, [prompt], beam_size=1, max_length=16)

    def work(self, bucket: int, rows: int) -> None:
        """Do what a batch takes: encode, and decode a caption of a usual length. For measuring."""
        noise = np.random.default_rng(0).normal(0.0, 0.05, SAMPLE_RATE).astype(np.float32)
        encoded = self._encode([self.mel(noise, bucket)] * rows)
        prompt = self._tokens.full_prompt((), "en", "transcribe")
        self._model.generate(
            encoded,
            [prompt] * rows,
            beam_size=1,
            # The library halves it for new tokens; without an end they are all made.
            max_length=2 * _TYPICAL_TOKENS,
            suppress_tokens=[*self._tokens.suppressed, self._tokens.eot],
        )

    def mel(self, audio: Audio, frames: int) -> Mel:
        """The log-mel spectrogram of audio followed by silence, ``frames`` long."""
        spoken = min(frames, frames_of(len(audio)) + 4)
        audio = np.pad(audio[: frames * HOP], (0, max(0, spoken * HOP - len(audio))))
        return _lengthened(self._extract(audio, padding=0), frames)

    def _encode(self, mels: Sequence[Mel]) -> Any:
        batch = np.ascontiguousarray(np.stack(mels), dtype=np.float32)
        return self._model.encode(ctranslate2.StorageView.from_array(batch))

    def _encode_works(self, works: Sequence[Work], frames: int) -> Any:
        began = time.monotonic()
        encoded = self._encode([_lengthened(work.mel, frames) for work in works])
        for work in works:
            work.encode_seconds += time.monotonic() - began
        return encoded

    def _decode(self, works: Sequence[Work], frames: int) -> None:
        """Decode from ``frames`` of context."""
        encoded = self._encode_works(works, frames)
        self._choose_languages(works, encoded)
        answers = self._generate(works, encoded, beam_size=works[0].row.beam)
        for index, (work, answer) in enumerate(zip(works, answers, strict=True)):
            work.decoded = answer
            work.encoded = work.widest = (encoded, index)

    def _choose_languages(self, works: Sequence[Work], encoded: Any) -> None:
        unknown = [work.row.job.language is None and not work.language_known for work in works]
        detected: Sequence[Any] = ()
        if any(unknown) and self._tokens.multilingual:
            detected = self._model.detect_language(encoded)
        for index, work in enumerate(works):
            job = work.row.job
            if job.language is not None:
                work.language = job.language
            elif detected and unknown[index]:
                probabilities = {name.strip("<|>"): float(p) for name, p in detected[index]}
                work.language, work.language_probability = choose_language(
                    probabilities, hint=job.language_hint, seconds=work.samples / SAMPLE_RATE
                )
            work.language_known = True

    def _generate(
        self,
        works: Sequence[Work],
        encoded: Any,
        *,
        beam_size: int = 1,
        temperature: float = 0.0,
        prompted: bool = True,
    ) -> list[Decoded]:
        prompts = [
            self._tokens.full_prompt(
                work.row.prompt if prompted else (), work.language, work.row.job.task
            )
            for work in works
        ]
        caps = [token_cap(work.language, work.row.bucket) for work in works]
        cap = max(caps)
        sampling: dict[str, Any] = {"beam_size": beam_size}
        if temperature > 0:
            # topk=1, the default, would make the temperature mean nothing.
            sampling = {
                "beam_size": 1,
                "num_hypotheses": _SAMPLES,
                "sampling_topk": 0,
                "sampling_temperature": temperature,
            }
        results = self._model.generate(
            encoded,
            prompts,
            # The library halves it for new tokens and counts the prompt into it.
            max_length=min(_MAX_LENGTH, max(2 * cap, cap + len(prompts[0]))),
            suppress_tokens=self._tokens.suppressed,
            return_scores=True,
            return_no_speech_prob=True,
            **sampling,
        )
        return [self._decoded(*answer) for answer in zip(results, caps, strict=True)]

    def _decoded(self, result: Any, cap: int) -> Decoded:
        tokens = tuple(token for token in result.sequences_ids[0] if token < self._tokens.eot)
        # The score is a mean over the tokens without the end of text, whose log probability
        # it includes all the same (see faster-whisper's generate_with_fallback).
        length = len(result.sequences_ids[0])
        return Decoded(
            tokens=tokens,
            text=self._tokens.text(tokens),
            log_probability=result.scores[0] * length / (length + 1),
            no_speech_probability=result.no_speech_prob,
            capped=length >= cap,
        )

    def _forget_leaks(self, works: Sequence[Work]) -> None:
        """Decode without their context rows that repeat it: Whisper likes to go round."""
        leaky = [work for work in works if work.repeats_context]
        if not leaky:
            return
        encoded = _rows_of([work.encoded for work in leaky if work.encoded is not None])
        answers = self._generate(leaky, encoded, beam_size=leaky[0].row.beam, prompted=False)
        for work, answer in zip(leaky, answers, strict=True):
            work.decoded = answer
            work.guards.append("repeats its context")

    def _redo(self, works: Sequence[Work]) -> None:
        """Decode suspicious rows again with more context, and then by sampling."""
        anew = self._detect_again([work for work in works if work.unsure_of_language])
        doubted = []
        for work in works:
            doubt = work.doubt(SHORT_LIMITS)
            if doubt is not None:
                work.guards.append(doubt)
                doubted.append(work)
        short = [work for work in doubted if work.row.bucket < FULL and work not in anew]
        if short:
            first = [(work.answer, work.encoded) for work in short]
            self._decode(short, wider(short[0].row.bucket, short[0].row.priority))
            for work, (answer, encoded) in zip(short, first, strict=True):
                again = work.answer, work.encoded
                work.decoded, work.encoded = answer, encoded
                work.consider(*again)
        for work in doubted:
            if work.doubt(FULL_LIMITS):
                self._fall_back(work)

    def _detect_again(self, works: Sequence[Work]) -> Sequence[Work]:
        """Look for the language with all the context the model was trained with, and decode what
        is in another one than was thought. Which those are.
        """
        short = [work for work in works if work.row.bucket < FULL]
        if not short:
            return ()
        thought = [work.language for work in short]
        encoded = self._encode_works(short, FULL)
        for work in short:
            work.language_known = False
        self._choose_languages(short, encoded)
        other = [
            index
            for index, (work, language) in enumerate(zip(short, thought, strict=True))
            if work.language != language
        ]
        if not other:
            return ()
        anew = [short[index] for index in other]
        encoded = _rows_of([(encoded, index) for index in other])
        answers = self._generate(anew, encoded, beam_size=anew[0].row.beam)
        for index, (work, answer) in enumerate(zip(anew, answers, strict=True)):
            work.redone = True
            work.decoded = answer
            work.encoded = work.widest = (encoded, index)
        return anew

    def _fall_back(self, work: Work) -> None:
        """Sample at rising temperatures, without the prompt, which may be what misleads."""
        if work.widest is None:
            raise RuntimeError("not decoded yet")
        encoded = _rows_of([work.widest])
        work.sampled = True
        for temperature in FALLBACK_TEMPERATURES:
            (sampled,) = self._generate([work], encoded, temperature=temperature, prompted=False)
            work.consider(sampled, (encoded, 0))
            if not work.doubt(FULL_LIMITS):
                return

    def _align(self, works: Sequence[Work]) -> None:
        """Find the words' times, and how sure the ends of sentences are.

        One call for rows that can share one.
        """
        shared: dict[tuple[int, str, Task], list[Work]] = {}
        for work in works:
            if work.answer.tokens and work.encoded is not None:
                key = id(work.encoded[0]), work.language, work.row.job.task
                shared.setdefault(key, []).append(work)
        for (_, language, task), group in shared.items():
            alignments = self._model.align(
                _rows_of([work.encoded for work in group if work.encoded is not None]),
                self._tokens.start(language, task),
                [list(work.answer.tokens) for work in group],
                [frames_of(work.samples) for work in group],
            )
            for work, alignment in zip(group, alignments, strict=True):
                if ends_sentence(work.answer.text):
                    work.ending = float(alignment.text_token_probs[-1])
                if work.row.job.words:
                    work.words = self._tokens.words(
                        work.answer.tokens,
                        alignment,
                        language=language,
                        task=task,
                        samples=work.samples,
                    )


def _lengthened(mel: Mel, frames: int) -> Mel:
    """A spectrogram that ends in silence, with more of it."""
    missing = frames - mel.shape[1]
    if missing <= 0:
        return mel
    return np.concatenate([mel, np.repeat(mel[:, -1:], missing, axis=1)], axis=1)


def _rows_of(places: Sequence[tuple[Any, int]]) -> Any:
    """Some rows of one encoder output, as an encoder output."""
    encoded = places[0][0]
    indices = [index for _, index in places]
    if indices == list(range(encoded.shape[0])):
        return encoded
    on_cpu = encoded.to_device(ctranslate2.Device.cpu)
    # Reduced precision has no numpy type on the way; alignment is as good in float32.
    rows = np.array(on_cpu.to(ctranslate2.DataType.float32))[indices]
    return ctranslate2.StorageView.from_array(np.ascontiguousarray(rows))
