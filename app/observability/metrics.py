"""What is counted and timed as it happens. What can be read at any time is in ``collector``.

Labels take their values from closed sets: codes, classes of work, route templates, names that the
operator chose. Never a key, a user, an address, a session or anything that a client wrote.
"""

from __future__ import annotations

from typing import Final, get_args

from litestar.enums import ScopeType
from litestar.types import Scope
from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

from app.context import method_of, refusal_code, route_of
from app.observability.engines import (
    ObservedRecognizer,
    ObservedTranslator,
    Recognised,
    Translated,
)
from inference.observing import RecognitionBatch
from streaming.errors import (
    ModelUnavailable,
    RecognitionFailed,
    SurtitleError,
    TranslationFailed,
)
from streaming.ports import Recognizer, Translator
from streaming.types import SAMPLE_RATE, Priority
from streaming.wire import ServerEvent

PREFIX: Final = "surtitle"

# When each series began: half as many again, and nothing that Prometheus asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types

_FELT: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""Seconds that people feel: close together around what is aimed at."""
_WORK: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)
_QUICK: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_ROWS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_FRAMES_PER_SECOND: Final = 100
FAULTS: Final = tuple(
    error.code for error in (RecognitionFailed, TranslationFailed, ModelUnavailable, SurtitleError)
)
"""The codes of what goes wrong on our side, other than too much being asked."""
EVENTS: Final = tuple(str(event.__struct_config__.tag) for event in get_args(ServerEvent))
UNMATCHED: Final = "unmatched"
"""The route of a path that there is not."""


class Metrics:
    """The instruments of one application, in a registry of their own. Safe in any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

        self.sessions_started = self._counter("sessions_started", "Streams that have begun.")
        self.sessions_ended = self._counter(
            "sessions_ended",
            "Streams that have ended: done, disconnected, or the code of what ended them.",
            "outcome",
        )
        self.events = self._counter("events", "Events sent to clients of streams.", "type")
        self.warnings = self._counter("warnings", "Warnings sent to clients of streams.", "code")
        self.errors = self._counter(
            "errors",
            "Errors told to clients: of requests (http), refused handshakes (handshake), and in "
            "streams (stream).",
            "where",
            "code",
        )
        self.stream_received = self._counter(
            "stream_received_bytes", "Bytes of audio that came over streams."
        )
        self.stream_sent = self._counter("stream_sent_bytes", "Bytes of events sent over streams.")
        self.audio = self._counter(
            "audio_seconds",
            "Audio taken in: of streams, and of files what was found to be speech.",
            "source",
        )
        self.characters = self._counter("characters", "Characters translated.", "work")

        self.first_text = self._histogram(
            "first_text_seconds", "Someone began to speak → first text sent; live streams.", _FELT
        )
        self.final_lag = self._histogram(
            "final_lag_seconds", "End of speech → its final sent; live streams.", _FELT
        )
        self.endpoint_wait = self._histogram(
            "endpoint_wait_seconds", "End of speech → sure that it has ended; live streams.", _FELT
        )
        self.translation_lag = self._histogram(
            "translation_lag_seconds", "Final sent → its translation sent.", _FELT
        )
        self.queue_wait = self._histogram(
            "queue_wait_seconds", "Recognition asked for → a worker begins.", _WORK, "work"
        )
        self.recognition = self._histogram(
            "recognition_seconds", "Recognition asked for → answered.", _WORK, "work"
        )
        self.translation = self._histogram(
            "translate_seconds", "Translation asked for → answered.", _WORK, "work"
        )
        self.encode = self._histogram(
            "encode_seconds", "Encoder time of a batch of speech.", _WORK, "work"
        )
        self.decode = self._histogram(
            "decode_seconds", "Decoder time of a batch of speech, what was redone included.",
            _WORK, "work",
        )  # fmt: skip
        self.batch_rows = self._histogram("batch_rows", "Rows of a batch of speech.", _ROWS)
        self.encoded = self._counter("encoded_seconds", "Audio encoded, padding included.")
        self.padding = self._counter("padding_seconds", "Silence encoded to fill up utterances.")
        self.redone = self._counter(
            "redone", "Answers done again: with more context (wider), or by sampling (sampled).",
            "how",
        )  # fmt: skip
        self.guards = self._counter(
            "guards", "Answers that were not believed, or taken for silence, by reason.", "guard"
        )
        self.model_errors = self._counter(
            "model_errors", "Questions that models did not answer.", "model", "code"
        )
        self.loop_delay = self._histogram(
            "event_loop_delay_seconds", "By how much tasks wake later than they asked for.", _QUICK
        )
        self.redis = self._histogram(
            "redis_command_seconds", "Redis asked → answered, or given up.", _QUICK
        )
        self.requests = self._counter(
            "http_requests", "HTTP requests answered.", "method", "route", "status"
        )
        self.request_seconds = self._histogram(
            "http_request_seconds", "HTTP request came → answered.", _WORK, "route"
        )
        self.handshakes = self._counter(
            "handshakes", "WebSocket handshakes: accepted, or the code of the refusal.", "outcome"
        )

        self._begin()

    def _begin(self) -> None:
        """Show what alerts are about from the start, at 0: a rate sees no first step from nothing
        to 1.
        """
        for where in ("http", "stream"):
            for code in FAULTS:
                self.errors.labels(where, code)
        for kind in EVENTS:
            self.events.labels(kind)
        for outcome in ("done", "disconnected"):
            self.sessions_ended.labels(outcome)
        for how in ("wider", "sampled"):
            self.redone.labels(how)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self.registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"{PREFIX}_{name}", text, labels, registry=self.registry, buckets=buckets)

    # ------------------------------------------------------------ hooks

    def note_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Take one request or connection (:class:`app.context.RequestContext`)."""
        code = refusal_code(scope)
        if scope["type"] == ScopeType.WEBSOCKET:
            accepted = status == 101  # noqa: PLR2004 - Switching Protocols
            self.handshakes.labels("accepted" if accepted else code or str(status)).inc()
            if not accepted:
                self.errors.labels("handshake", code or str(status)).inc()
            return
        route = route_of(scope) or UNMATCHED
        self.requests.labels(method_of(scope), route, str(status)).inc()
        self.request_seconds.labels(route).observe(seconds)
        if code:
            self.errors.labels("http", code).inc()

    def note_batch(self, batch: RecognitionBatch) -> None:
        """Take a batch of speech, in the worker's thread."""
        work = class_of(batch.priority)
        self.encode.labels(work).observe(batch.encode_seconds)
        self.decode.labels(work).observe(batch.decode_seconds)
        self.batch_rows.observe(batch.rows)
        self.encoded.inc(batch.rows * batch.frames / _FRAMES_PER_SECOND)
        self.padding.inc(batch.padding_frames / _FRAMES_PER_SECOND)
        for how, count in (("wider", batch.widened), ("sampled", batch.sampled)):
            if count:
                self.redone.labels(how).inc(count)
        for guard in batch.guards:
            self.guards.labels(guard.replace(" ", "_")).inc()

    def observed_recognizer(self, recognizer: Recognizer) -> Recognizer:
        """A recogniser whose answers are counted."""
        return ObservedRecognizer(
            recognizer,
            self._recognised,
            lambda error: self.model_errors.labels("speech", error.code).inc(),
        )

    def observed_translator(self, translator: Translator) -> Translator:
        """A translator whose answers are counted."""
        return ObservedTranslator(
            translator,
            self._translated,
            lambda error: self.model_errors.labels("translation", error.code).inc(),
        )

    def _recognised(self, done: Recognised) -> None:
        work = class_of(done.job.priority)
        self.queue_wait.labels(work).observe(done.answer.timing.queued)
        self.recognition.labels(work).observe(done.seconds)
        if done.job.priority is Priority.OFFLINE:
            self.audio.labels("file").inc(len(done.job.audio) / SAMPLE_RATE)

    def _translated(self, done: Translated) -> None:
        work = class_of(done.job.priority)
        self.translation.labels(work).observe(done.seconds)
        self.characters.labels(work).inc(len(done.job.text))


def class_of(priority: Priority) -> str:
    """A class of work as the label ``work`` names it."""
    return priority.name.lower()
