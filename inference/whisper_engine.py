"""Whisper on CTranslate2: one blocking call for a batch of rows of any sessions.

Every row is treated as if it were alone: log-mel per utterance (its floor is relative to the
loudest frame), padding by the row's own length, its own prompt, language, task and limits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import ctranslate2
import numpy as np
from faster_whisper.feature_extractor import FeatureExtractor
from numpy.typing import NDArray

from inference.decoding import (
    FALLBACK_TEMPERATURES,
    FULL,
    FULL_LIMITS,
    HOP,
    LIKELY_LANGUAGE,
    SHORT_LIMITS,
    Decoded,
    Limits,
    better,
    choose_language,
    ends_sentence,
    frames_of,
    is_silence,
    leaks,
    suspicion,
    token_cap,
    wider,
)
from inference.observing import BatchObserver, RecognitionBatch, unobserved
from inference.whisper_tokens import WhisperTokens
from streaming.errors import RecognitionFailed, SurtitleError
from streaming.types import (
    SAMPLE_RATE,
    Audio,
    Hypothesis,
    Priority,
    RecognitionJob,
    Task,
    Timing,
    Word,
)

Mel = NDArray[np.float32]
"""Log-mel spectrogram, shape ``(mels, frames)``."""

_MAX_LENGTH: Final = 448
_TYPICAL_TOKENS: Final = 24
_SAMPLES: Final = 3  # hypotheses drawn at a fallback temperature


@dataclass(slots=True, eq=False)
class Row:
    """A job made ready for a batch. Rows of equal ``group`` can share one."""

    job: RecognitionJob
    bucket: int
    prompt: tuple[int, ...] = ()
    beam: int = 1
    """Hypotheses followed side by side; 1 is greedy."""
    favoured: int = 0
    """How many tokens of the prompt, at its beginning, are words to favour and no context."""
    waited: float = 0.0
    """Seconds it waited for a worker."""

    @property
    def session(self) -> str:
        return self.job.session

    @property
    def segment(self) -> int:
        return self.job.segment

    @property
    def revision(self) -> int:
        return self.job.revision

    @property
    def priority(self) -> Priority:
        return self.job.priority

    @property
    def tenant(self) -> str:
        return self.job.tenant

    @property
    def weight(self) -> float:
        return self.job.weight

    @property
    def final(self) -> bool:
        """Whether the best answer is wanted rather than the quickest."""
        return self.job.priority is not Priority.PARTIAL

    @property
    def group(self) -> tuple[int, bool, int, bool, int]:
        return self.bucket, self.final, len(self.prompt), self.job.words, self.beam


@dataclass(slots=True, eq=False)
class _Work:
    """A row while it is worked on."""

    row: Row
    mel: Mel
    language: str = "en"
    language_probability: float = 1.0
    language_known: bool = False
    decoded: Decoded | None = None
    redone: bool = False
    sampled: bool = False
    guards: list[str] = field(default_factory=list)
    """Why what was decoded is not what is answered."""
    encoded: tuple[Any, int] | None = None
    """Encoder output that led to ``decoded``, and the row's index in it."""
    widest: tuple[Any, int] | None = None
    """Likewise of the longest context there is."""
    encode_seconds: float = 0.0
    ending: float = 0.0
    """See :class:`~streaming.types.Hypothesis`."""
    words: tuple[Word, ...] | None = None

    @property
    def samples(self) -> int:
        return len(self.row.job.audio)

    @property
    def answer(self) -> Decoded:
        if self.decoded is None:
            raise RuntimeError("not decoded yet")
        return self.decoded

    @property
    def awaited(self) -> bool:
        """Whether it is a caption's final, whose speaker has perhaps only paused."""
        return self.row.priority is Priority.FINAL and self.row.job.task == "transcribe"

    @property
    def repeats_context(self) -> bool:
        """Whether the answer is perhaps text it was given. Favoured words are meant to be heard."""
        return leaks(self.answer.tokens, self.row.prompt[self.row.favoured :])

    @property
    def unsure_of_language(self) -> bool:
        """Whether a language was found that is neither likely nor the session's own."""
        job = self.row.job
        found = job.language is None and self.language != job.language_hint
        return found and self.language_probability < LIKELY_LANGUAGE

    def doubt(self, limits: Limits) -> str | None:
        """Why the answer should not be believed, or None."""
        return suspicion(self.answer, samples=self.samples, limits=limits, language=self.language)

    def consider(self, answer: Decoded, encoded: tuple[Any, int] | None) -> None:
        """Take another answer, from another encoding, unless the present one is better."""
        self.redone = True
        kept = better(self.answer, answer, samples=self.samples, language=self.language)
        if kept is answer:
            self.decoded, self.encoded = answer, encoded


class WhisperEngine:
    """A loaded model. ``run`` is blocking and may be called from several threads at once."""

    def __init__(self, model: ctranslate2.models.Whisper, tokens: WhisperTokens) -> None:
        self._model = model
        self._tokens = tokens
        self._extract: Callable[..., Mel] = FeatureExtractor(feature_size=model.n_mels)
        self.observe: BatchObserver = unobserved
        """Is told of each batch that was done."""

    def run(self, rows: Sequence[Row]) -> Sequence[Hypothesis | SurtitleError]:
        """Recognise rows of one group, in order."""
        began = time.monotonic()
        works = [_Work(row, self.mel(row.job.audio, row.bucket)) for row in rows]
        self._decode(works, rows[0].bucket)
        self._forget_leaks(works)
        final = rows[0].final
        if final:
            self._redo(works)
        self._align([work for work in works if work.row.job.words or work.awaited])
        encoded = works[0].encode_seconds
        decoded = time.monotonic() - began - encoded
        answers: list[Hypothesis | SurtitleError] = []
        for work in works:
            # The next partial is on its way: better none than a wrong one, or a slow one.
            doubt = None if final else work.doubt(FULL_LIMITS)
            if doubt is None:
                timing = Timing(work.row.waited, encoded, decoded)
                answers.append(self._hypothesis(work, timing))
            else:
                work.guards.append(doubt)
                error = f"this partial is not to be believed: {doubt}"
                answers.append(RecognitionFailed(error))
        self.observe(_report(works, encoded, decoded))
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

    def _decode(self, works: Sequence[_Work], frames: int) -> None:
        """Decode from ``frames`` of context."""
        began = time.monotonic()
        encoded = self._encode([_lengthened(work.mel, frames) for work in works])
        for work in works:
            work.encode_seconds += time.monotonic() - began
        self._choose_languages(works, encoded)
        answers = self._generate(works, encoded, beam_size=works[0].row.beam)
        for index, (work, answer) in enumerate(zip(works, answers, strict=True)):
            work.decoded = answer
            work.encoded = work.widest = (encoded, index)

    def _choose_languages(self, works: Sequence[_Work], encoded: Any) -> None:
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
        works: Sequence[_Work],
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

    def _forget_leaks(self, works: Sequence[_Work]) -> None:
        """Decode without their context rows that repeat it: Whisper likes to go round."""
        leaky = [work for work in works if work.repeats_context]
        if not leaky:
            return
        encoded = _rows_of([work.encoded for work in leaky if work.encoded is not None])
        answers = self._generate(leaky, encoded, beam_size=leaky[0].row.beam, prompted=False)
        for work, answer in zip(leaky, answers, strict=True):
            work.decoded = answer
            work.guards.append("repeats its context")

    def _redo(self, works: Sequence[_Work]) -> None:
        """Decode suspicious rows again with more context, and then by sampling.

        Languages, too, are told apart better with more context.
        """
        unsure = {id(work) for work in works if work.unsure_of_language}
        doubted = []
        for work in works:
            doubt = work.doubt(SHORT_LIMITS)
            if doubt is not None:
                work.guards.append(doubt)
            if doubt is not None or id(work) in unsure:
                doubted.append(work)
        short = [work for work in doubted if work.row.bucket < FULL]
        if short:
            first = [(work.answer, work.encoded) for work in short]
            for work in short:
                work.language_known = id(work) not in unsure
            self._decode(short, wider(short[0].row.bucket, short[0].row.priority))
            for work, (answer, encoded) in zip(short, first, strict=True):
                work.redone = True
                if id(work) not in unsure:  # else the first was perhaps in another language
                    again = work.answer, work.encoded
                    work.decoded, work.encoded = answer, encoded
                    work.consider(*again)
        for work in doubted:
            if work.doubt(FULL_LIMITS):
                self._fall_back(work)

    def _fall_back(self, work: _Work) -> None:
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

    def _align(self, works: Sequence[_Work]) -> None:
        """Find the words' times, and how sure the ends of sentences are.

        One call for rows that can share one.
        """
        shared: dict[tuple[int, str, Task], list[_Work]] = {}
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

    def _hypothesis(self, work: _Work, timing: Timing) -> Hypothesis:
        answer, words, ending = work.answer, work.words, work.ending
        if is_silence(answer, work.samples):
            if answer.text.strip():
                work.guards.append("silence")
            answer, words, ending = replace(answer, text="", tokens=()), (), 0.0
        return Hypothesis(
            text=answer.text.strip(),
            language=work.language,
            language_probability=work.language_probability,
            confidence=min(1.0, math.exp(answer.log_probability)) if answer.tokens else 0.0,
            no_speech_probability=answer.no_speech_probability,
            words=(words or ()) if work.row.job.words else None,
            ending=ending,
            timing=timing,
            redone=work.redone,
        )


def _report(works: Sequence[_Work], encoded: float, decoded: float) -> RecognitionBatch:
    frames = works[0].row.bucket
    return RecognitionBatch(
        priority=works[0].row.priority,
        rows=len(works),
        frames=frames,
        padding_frames=sum(max(0, frames - frames_of(work.samples)) for work in works),
        encode_seconds=encoded,
        decode_seconds=decoded,
        widened=sum(work.redone for work in works),
        sampled=sum(work.sampled for work in works),
        guards=tuple(guard for work in works for guard in work.guards),
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
