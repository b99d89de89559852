"""What is settable about sessions."""

from __future__ import annotations

from dataclasses import dataclass, field

from streaming.captions import PARTIAL_MS
from streaming.segmenter import SegmenterConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionConfig:
    """The same for all sessions of a server."""

    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)
    partial_ms: int = PARTIAL_MS
    """New audio after which an open utterance is recognised again; more in a long one."""
    max_message_bytes: int = 1 << 20
    idle_timeout_seconds: float = 60.0
    """Enforced by the driver, as is the next; here only to be told."""
    resume_seconds: float = 0.0
    max_errors: int = 100
    """Protocol errors after which the client is told to go away."""
