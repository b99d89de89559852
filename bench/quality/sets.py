"""What is replayed: sets of clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.corpus import Clip, utterances
from bench.quality import sounds
from streaming.types import Audio

SETS = ("english", "longform", "languages", "nonspeech", "translation")
LANGUAGES = ("pt", "es", "fr", "de")
LONG = frozenset({"long-form", "concat", "turns"})
DIGITS = "digits"
"""Digits strung together: what the models write as one number is no words to count."""
TARGETS = {"en": "pt", "pt": "en"}
"""What is translated to what: the pairs that work without a download."""

_CONNECTED = 8.0
_NO_FILE = Path()


@dataclass(frozen=True, slots=True)
class Item:
    """A clip to replay, and what for."""

    set: str
    clip: Clip
    targets: tuple[str, ...] = ()

    def audio(self) -> Audio:
        """Mono float32 at 16 kHz."""
        if self.clip.path == _NO_FILE:
            return sounds.make(self.clip.id)
        return self.clip.audio()


def items(clips: Sequence[Clip], sets: Sequence[str], limit: int | None = None) -> list[Item]:
    """What is to be replayed: of each set and language at most ``limit``, spread evenly."""
    chosen: list[Item] = []
    for name in sets:
        by_language: dict[str, list[Item]] = {}
        for item in _of(name, clips):
            by_language.setdefault(item.clip.lang, []).append(item)
        for group in by_language.values():
            chosen += group if limit is None else _spread(group, limit)
    return chosen


def _of(name: str, clips: Sequence[Clip]) -> Iterator[Item]:
    match name:
        case "english":
            yield from (Item(name, clip) for clip in utterances(clips, "en"))
        case "languages":
            for lang in LANGUAGES:
                yield from (Item(name, clip) for clip in utterances(clips, lang))
        case "longform":
            yield from (Item(name, clip) for clip in clips if clip.text and _is_long(clip))
        case "nonspeech":
            yield from (Item(name, clip) for clip in clips if clip.lang == "none")
            for sound in sounds.SOUNDS:
                tags = frozenset({"generated", "silence"} if sound == "silence" else {"generated"})
                clip = Clip(sound, _NO_FILE, "none", "", tags, sounds.SECONDS)
                yield Item(name, clip)
        case "translation":
            # Connected speech: a phrase tells nothing of delay.
            for clip in clips:
                long = _is_long(clip) or clip.seconds >= _CONNECTED
                if clip.lang in TARGETS and clip.text and long:
                    yield Item(name, clip, (TARGETS[clip.lang],))
        case _:
            raise ValueError(f"there is no set {name!r}; known are {', '.join(SETS)}")


def _is_long(clip: Clip) -> bool:
    return bool(clip.tags & LONG) and DIGITS not in clip.tags


def _spread(group: Sequence[Item], limit: int) -> list[Item]:
    """Some of a group, evenly spaced."""
    if len(group) <= limit:
        return list(group)
    return [group[index * len(group) // limit] for index in range(limit)]
