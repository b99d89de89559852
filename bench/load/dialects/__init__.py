"""How to speak to each server: messages out as values, messages in one by one."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from bench.load.dialects.base import Dialect, Encoding, Message
from bench.load.dialects.surtitle import SurtitleDialect
from bench.load.dialects.whisperlive import WhisperLiveDialect
from bench.load.dialects.whisperlivekit import WhisperLiveKitDialect

__all__ = ["DIALECTS", "Dialect", "Encoding", "Message"]

DIALECTS: Mapping[str, type[Dialect]] = MappingProxyType(
    {
        "surtitle": SurtitleDialect,
        "whisperlive": WhisperLiveDialect,
        "whisperlivekit": WhisperLiveKitDialect,
    }
)
