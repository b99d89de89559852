"""Every error a client can be told, in one tree.

    SurtitleError
    ├── ProtocolError          the client broke the protocol; the session is as it was
    ├── MediaError             the audio cannot be what it says it is
    ├── CapabilityError        nothing here can do what was asked
    ├── SessionEnded           the session ends; always fatal
    └── ServiceError           our side failed; often worth a retry
        └── Overloaded

An error has a stable ``code`` (clients branch on it), an HTTP status, and says whether the same
request may succeed later. On a stream a fatal one closes with ``4000 + status``.
"""

from __future__ import annotations

from typing import Any, ClassVar


class SurtitleError(Exception):
    """Base of all errors that reach a client.

    ``message`` is shown to people; ``details`` are extra JSON fields for programs.
    """

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    fatal: ClassVar[bool] = False

    def __init__(self, message: str, *, retry_after: float | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.details = details

    @property
    def close_code(self) -> int:
        """The WebSocket close code this error ends a stream with, when it does."""
        return 4000 + self.status


class ProtocolError(SurtitleError):
    code = "protocol_error"
    status = 400


class InvalidJson(ProtocolError):
    code = "invalid_json"


class InvalidMessage(ProtocolError):
    """A known message with a field of the wrong type or range."""

    code = "invalid_message"


class UnknownType(ProtocolError):
    code = "unknown_type"


class NotStarted(ProtocolError):
    """Audio or a command came before ``start``."""

    code = "not_started"


class AlreadyStarted(ProtocolError):
    code = "already_started"


class AlreadyStopped(ProtocolError):
    """Audio or a command came after ``stop``."""

    code = "already_stopped"


class UnsupportedEncoding(ProtocolError):
    code = "unsupported_encoding"


class UnsupportedSampleRate(ProtocolError):
    code = "unsupported_sample_rate"


class UnsupportedChannels(ProtocolError):
    code = "unsupported_channels"


class ResumeUnknown(ProtocolError):
    """The resume token names no session that could be continued."""

    code = "resume_unknown"
    status = 404


class ResumeImpossible(ProtocolError):
    """The session is known, and can't be continued on this server: begin a new one."""

    code = "resume_impossible"
    status = 409


class MediaError(SurtitleError):
    code = "invalid_audio"
    status = 400


class EmptyAudio(MediaError):
    code = "empty_audio"


class UnsupportedMedia(MediaError):
    code = "unsupported_media"
    status = 415


class AudioTooLong(MediaError):
    code = "audio_too_long"
    status = 413


class BrokenStream(MediaError):
    """A container stream that can't be decoded any further: what was heard is finalised."""

    code = "invalid_audio"
    fatal = True


class CapabilityError(SurtitleError):
    code = "unsupported"
    status = 400


class UnknownLanguage(CapabilityError):
    """Not a language tag, or not a language any model here knows."""

    code = "unknown_language"


class PairUnsupported(CapabilityError):
    """Both languages are known, but no engine leads from one to the other."""

    code = "pair_unsupported"


class SessionEnded(SurtitleError):
    fatal = True


class MessageTooLarge(SessionEnded):
    code = "message_too_large"
    status = 413


class StartTimeout(SessionEnded):
    code = "start_timeout"
    status = 408


class IdleTimeout(SessionEnded):
    """Nothing came for a long time, not even a keepalive."""

    code = "idle_timeout"
    status = 408


class TakenOver(SessionEnded):
    """Another connection goes on with the session."""

    code = "taken_over"
    status = 409


class TooManyErrors(SessionEnded):
    """A client that keeps breaking the protocol is not talking to us."""

    code = "too_many_errors"
    status = 400


class SlowReader(SessionEnded):
    """The client does not read its events; what was not sent could not be kept."""

    code = "slow_reader"
    status = 408
    retryable = True


class ServiceError(SurtitleError):
    code = "service_error"
    status = 503
    retryable = True


class RecognitionFailed(ServiceError):
    code = "recognition_failed"


class TranslationFailed(ServiceError):
    code = "translation_failed"


class ModelUnavailable(ServiceError):
    """The model is not loaded, or the worker has stopped."""

    code = "model_unavailable"


class Overloaded(ServiceError):
    """A bounded queue is full."""

    code = "overloaded"


class Superseded(SurtitleError):
    """A newer job took this one's place before it ran. Never shown to a client."""

    code = "superseded"
    status = 409


class InternalError(SessionEnded):
    """A fault of ours that the session can't survive."""

    code = "internal_error"
    status = 500
    retryable = True
