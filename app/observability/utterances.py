"""An utterance as spans: its stages, and its translations, under the span of its stream."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.util.types import AttributeValue

from app.observability.engines import (
    ObservedRecognizer,
    ObservedTranslator,
    Recognised,
    Translated,
)
from app.observability.streams import UtteranceTimes
from app.observability.tracing import Tracing
from streaming.ports import Recognizer, Translator
from streaming.types import Priority

_REMEMBERED: Final = 64
"""Utterances whose translations are waited for."""


class UtteranceSpans:
    """Makes the spans of one stream, when all their times are known. Event loop only.

    ``parent`` is the stream's own span. The spans of an utterance are made when its final was
    sent; those of its translations when they are there.
    """

    def __init__(self, tracing: Tracing, parent: trace.Span) -> None:
        self._tracer = tracing.tracer
        self._parent = trace.set_span_in_context(parent)
        self._epoch = time.time() - time.monotonic()
        """What a monotonic time lacks to be one since 1970, in seconds."""
        self._recognised: dict[int, Recognised] = {}
        """The newest answer that may be the final, by segment."""
        self._utterances: dict[int, Context] = {}
        self._translated: dict[int, list[Translated]] = {}
        """Translations that came before it was noted that their final was sent."""

    def recognizer(self, recognizer: Recognizer) -> Recognizer:
        """The stream's recogniser, watched."""
        return ObservedRecognizer(recognizer, self._note_recognised)

    def translator(self, translator: Translator) -> Translator:
        """The stream's translator, watched."""
        return ObservedTranslator(translator, self._note_translated)

    def finish(self, times: UtteranceTimes) -> None:
        """Make the spans of an utterance whose final was sent."""
        attributes: dict[str, AttributeValue] = {
            "surtitle.segment": times.segment,
            "surtitle.cut": times.sure is None,
            "surtitle.final_lag": round(times.sent - times.ended, 4),
        }
        done = self._recognised.pop(times.segment, None)
        if done is not None:
            attributes["surtitle.language"] = done.answer.language
            attributes["surtitle.redone"] = done.answer.redone
        span = self._tracer.start_span(
            "utterance", self._parent, attributes=attributes, start_time=self._at(times.began)
        )
        utterance = trace.set_span_in_context(span)
        if times.sure is not None:
            self._span("endpoint", utterance, times.ended, times.sure)
        if done is not None:
            self._stages(utterance, done)
            # From the answer, or from when nobody spoke again, to the client.
            self._span("send", utterance, max(done.answered, times.sure or 0.0), times.sent)
        span.end(self._at(times.sent))
        self._utterances[times.segment] = utterance
        for each in (self._recognised, self._utterances, self._translated):
            while len(each) > _REMEMBERED:
                del each[min(each)]
        for translated in self._translated.pop(times.segment, ()):
            self._translation(utterance, translated)

    def _stages(self, utterance: Context, done: Recognised) -> None:
        """The worker tells durations; they are laid one after the other, as they were."""
        timing = done.answer.timing
        at = done.asked
        for name, seconds in (
            ("queue", timing.queued),
            ("encode", timing.encoded),
            ("decode", timing.decoded),
        ):
            self._span(name, utterance, at, at + seconds)
            at += seconds

    def _note_recognised(self, done: Recognised) -> None:
        job = done.job
        if job.priority is Priority.FINAL and job.task == "transcribe":
            known = self._recognised.get(job.segment)
            if known is None or known.job.revision < job.revision:
                self._recognised[job.segment] = done

    def _note_translated(self, done: Translated) -> None:
        if done.job.priority is not Priority.FINAL:
            return
        utterance = self._utterances.get(done.job.segment)
        if utterance is None:
            self._translated.setdefault(done.job.segment, []).append(done)
        else:
            self._translation(utterance, done)

    def _translation(self, utterance: Context, done: Translated) -> None:
        attributes = {
            "surtitle.target": done.job.target,
            "surtitle.engine": done.answer.engine,
        }
        self._span("translate", utterance, done.asked, done.answered, attributes)

    def _span(
        self,
        name: str,
        parent: Context,
        began: float,
        ended: float,
        attributes: Mapping[str, AttributeValue] | None = None,
    ) -> None:
        span = self._tracer.start_span(
            name, parent, attributes=attributes, start_time=self._at(began)
        )
        span.end(self._at(max(began, ended)))

    def _at(self, moment: float) -> int:
        """A monotonic time as nanoseconds since 1970."""
        return round((self._epoch + moment) * 1e9)
