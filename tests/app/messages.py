"""Made-up messages of a client, right and wrong, for fuzzing. The same seed gives the same."""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import Any, Final

import numpy as np

from inference.fakes import Tones, silence

Frame = str | bytes

_TONES: Final = Tones()
_SPEECH: Final = (
    (np.concatenate([_TONES.speak("Good morning."), silence(0.7)]) * 32767).astype("<i2").tobytes()
)

_ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, -(2**70), 0.5, 1e308, -1e-308),
    *("", " ", "auto", "en", "pt-BR", "xx-not-a-language", "\x00", "é" * 70, "𝔘", "<b>"),
    *("x" * 2500, "<|startoftranscript|>"),
    *([], {}, [[]], [None], {"": None}, ["en"] * 40, ["pt", "pt", "EN"], [1], "NaN", "null"),
)
_FIELDS: Final = {
    "start": (
        *("encoding", "sample_rate", "channels", "source", "targets", "interim"),
        *("word_timestamps", "vocabulary", "endpoint_ms", "room", "resume", "unknown"),
    ),
    "configure": ("targets", "interim", "vocabulary", "endpoint_ms", "source", "unknown"),
    "finalize": ("marker", "unknown"),
    "keepalive": ("unknown",),
    "stop": ("unknown",),
}
_ENCODINGS: Final = ("pcm_s16le", "pcm_f32le", "mulaw", "alaw", "opus", "webm", "OPUS", "mp3")
_STARTED: Final = 0.9
_WEIGHTS: Final = (6, 1, 1, 3, 1)
"""Of speech, of other sound, of texts that are no messages, of messages, and of damaged ones."""
_MAGIC: Final = (b"OggS", b"\x1a\x45\xdf\xa3", b"fLaC", b"RIFF", b"ID3")
_TEXTS: Final = (
    "",
    "null",
    "[]",
    '"start"',
    "{",
    '{"type":}',
    "{" * 2000,
    "[" * 2000,
    '{"type":"start"' + ',"a":{"b":' * 500,
    '{"type":"start","type":"stop"}',
    '{"type":1e999}',
    '{"type":"finalize","marker":"\\ud800"}',
    "\ufeff{}",
)


def right(random: Random) -> dict[str, Any]:
    """A start that is taken."""
    rate = random.choice((8000, 16_000, 44_100, 96_000))
    return {
        "type": "start",
        "encoding": random.choice(_ENCODINGS[:6]),
        "sample_rate": rate,
        "channels": random.choice((1, 2)),
        "source": random.choice(("auto", "en", "pt")),
        "targets": random.choice(([], ["pt"], ["en", "pt"])),
        "interim": random.random() < 0.5,
    }


def frames(random: Random, count: int) -> list[Frame]:
    """What one client sends: as a rule a start that is taken, and then anything."""
    speech = itertools.cycle(_SPEECH[at : at + 3200] for at in range(0, len(_SPEECH), 3200))
    made: list[Frame] = [json.dumps(right(random))] if random.random() < _STARTED else []
    while len(made) < count:
        made.append(random.choices((next(speech), *_wrong(random)), _WEIGHTS)[0])
    return made


def _wrong(random: Random) -> tuple[Frame, ...]:
    message = _message(random)
    return _sound(random), random.choice(_TEXTS), message, _damaged(random, message)


def _message(random: Random) -> str:
    kind = random.choices((*_FIELDS, "Start", ""), (2, 4, 4, 2, 0.3, 1, 1))[0]
    message: dict[str, Any] = {"type": kind}
    fields = _FIELDS.get(kind, ())
    for field in random.sample(fields, random.randint(0, min(3, len(fields)))):
        message[field] = random.choice(_ODD)
    return json.dumps(message)


def _sound(random: Random) -> bytes:
    if random.random() < 0.5:
        return random.randbytes(random.choice((0, 1, 3, 640, 641, 4096)))
    return random.choice(_MAGIC) + random.randbytes(random.choice((0, 30, 500)))


def _damaged(random: Random, text: str) -> str:
    at = random.randrange(len(text))
    piece = random.choice(("", '"', "\\", "\x00", "}", "é", text[:at]))
    return text[:at] + piece + text[at + random.randint(0, 3) :]
