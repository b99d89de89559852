"""What a session wants done. The session never does it itself."""

from __future__ import annotations

from dataclasses import dataclass

from streaming.types import RecognitionJob, TranslationJob, Windows
from streaming.wire import Event
from streaming.wire import Resume as Request


@dataclass(frozen=True, slots=True, eq=False)
class Decode:
    """Decode container bytes; answer with ``receive_samples``.

    ``last`` asks for the decoder's rest as well. Answers must come in the order of the requests,
    and before any later frame of the client is given to the session.
    """

    data: bytes
    last: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Detect:
    """Find speech in windows; answer with ``receive_probabilities``, in order."""

    windows: Windows


@dataclass(frozen=True, slots=True, eq=False)
class Recognize:
    """Recognise; answer with ``receive_hypothesis`` or ``receive_recognition_failure``."""

    job: RecognitionJob


@dataclass(frozen=True, slots=True, eq=False)
class Translate:
    """Translate; answer with ``receive_translation`` or ``receive_translation_failure``."""

    job: TranslationJob


@dataclass(frozen=True, slots=True, eq=False)
class Emit:
    """Send an event to the client."""

    event: Event


@dataclass(frozen=True, slots=True, eq=False)
class Close:
    """Close the connection, after everything emitted before."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class Resume:
    """Let another session, that was begun before, have this connection.

    If there is none, answer with ``refuse_resume``.
    """

    request: Request


@dataclass(frozen=True, slots=True, eq=False)
class Acknowledge:
    """The client has all events up to this one; they need not be kept."""

    seq: int


Action = Decode | Detect | Recognize | Translate | Emit | Close | Resume | Acknowledge
