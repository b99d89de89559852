"""What is noted of one clip, and how it is read from its replay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench.corpus import Errors, errors
from bench.metrics import Shown, erasure, most_words, shown_after, stable_erasure
from bench.quality.offline import Offline
from bench.quality.sets import Item
from bench.quality.translation import Sentence, Translated, log
from bench.replay import Call, Replay, Timed
from streaming.types import Priority
from streaming.wire import FinalEvent, PartialEvent, SpeechEndedEvent, TranslationEvent

_SAME = 0.0015
"""Times on the wire are rounded to milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stages:
    """From the end of an utterance's speech to its final, in seconds: ``total`` is their sum.

    Without the calls, as over a real connection, only ``total`` is known.
    """

    total: float
    pause: float | None = None
    """Until the silence was long enough for the final's recognition to begin."""
    queue: float | None = None
    encode: float | None = None
    decode: float | None = None
    endpoint: float | None = None
    """From the result until it was known that the utterance is over."""
    translate: float | None = None
    """Beyond the total: from the final to the last of its final translations."""


@dataclass(frozen=True, slots=True)
class Steadiness:
    """How much of what was shown was taken back."""

    erased: int = 0
    words: int = 0
    stable_erased: int = 0
    """Characters of promised text that changed."""


@dataclass(slots=True, kw_only=True)
class Record:
    """One clip in one variant."""

    variant: str
    set: str
    clip: str
    lang: str
    tags: tuple[str, ...]
    seconds: float
    reference: str
    offline: str
    streamed: str
    languages: tuple[str, ...]
    """The languages of its segments."""
    errors: Errors
    offline_errors: Errors
    spoken: int
    """Words with a time, of which those recognised have their delays in the next two."""
    first_shown: list[float]
    committed: list[float]
    stages: list[Stages]
    cuts: int
    """Finals of utterances that were cut while somebody spoke: they have no end of speech."""
    captions: Steadiness
    translations: Steadiness
    hallucinated: int
    """Words of finals where nobody speaks."""
    flashed: int
    """Words ever shown where nobody speaks."""
    calls: int
    partials: int
    text_calls: int
    recognition_seconds: float
    encode_seconds: float
    translated: list[Translated]

    def as_of(self, item: Item) -> Record:
        """What of this counts in a set that the clip is in, among others."""
        if item.targets:
            return replace(self, set=item.set)
        return replace(
            self,
            set=item.set,
            stages=[replace(stage, translate=None) for stage in self.stages],
            translations=Steadiness(),
            translated=[],
            text_calls=0,
        )


def histories(events: Sequence[Timed]) -> dict[str, list[Shown]]:
    """What was shown: captions under ``""``, translations under their targets."""
    shown: dict[str, list[Shown]] = {"": []}
    for timed in events:
        match timed.event:
            case PartialEvent() as event:
                shown[""].append(Shown(timed.time, event.segment, event.stable, event.unstable))
            case FinalEvent() as event:
                shown[""].append(Shown(timed.time, event.segment, event.text, "", final=True))
            case TranslationEvent() as event:
                stable = event.stable if isinstance(event.stable, str) else ""
                line = shown.setdefault(event.target, [])
                if event.final:
                    line.append(Shown(timed.time, event.segment, event.text, "", final=True))
                else:
                    rest = event.text.removeprefix(stable)
                    line.append(Shown(timed.time, event.segment, stable, rest))
    return shown


def steadiness(lines: Sequence[Sequence[Shown]]) -> Steadiness:
    """Over all lines."""
    pairs = [erasure(line) for line in lines]
    return Steadiness(
        sum(erased for erased, _ in pairs),
        sum(words for _, words in pairs),
        sum(map(stable_erasure, lines)),
    )


def note(
    variant: str,
    item: Item,
    seconds: float,
    replay: Replay,
    offline: Offline,
    references: Mapping[str, tuple[Sentence, ...]],
) -> Record:
    """Everything measured on one clip. ``references`` are translations by target."""
    clip = item.clip
    lines = histories(replay.events)
    captions = lines.pop("")
    finals = [timed.event for timed in replay.events if isinstance(timed.event, FinalEvent)]
    streamed = " ".join(final.text for final in finals if final.text)
    reference = clip.text or ""
    stages = [_stages(timed, replay, offline) for timed in _finals(replay)]
    hallucinated, flashed = most_words(captions) if clip.lang == "none" else (0, 0)
    return Record(
        variant=variant,
        set=item.set,
        clip=clip.id,
        lang=clip.lang,
        tags=tuple(sorted(clip.tags)),
        seconds=seconds,
        reference=reference,
        offline=offline.text,
        streamed=streamed,
        languages=tuple(dict.fromkeys(final.language for final in finals)),
        errors=errors(reference, streamed, clip.lang),
        offline_errors=errors(reference, offline.text, clip.lang),
        spoken=len(offline.words),
        first_shown=shown_after(offline.words, captions),
        committed=shown_after(offline.words, captions, promised=True),
        stages=[stage for stage in stages if stage is not None],
        cuts=stages.count(None),
        captions=steadiness([captions]),
        translations=steadiness(list(lines.values())),
        hallucinated=hallucinated,
        flashed=flashed,
        calls=replay.recognitions,
        partials=sum(call.priority is Priority.PARTIAL for call in replay.calls),
        text_calls=replay.translations,
        recognition_seconds=replay.recognition_seconds,
        encode_seconds=sum(call.encode for call in replay.calls),
        translated=[
            Translated(target, log(lines.get(target, []), replay), sentences)
            for target, sentences in references.items()
        ],
    )


def _finals(replay: Replay) -> list[Timed]:
    return [timed for timed in replay.events if isinstance(timed.event, FinalEvent)]


def _stages(timed: Timed, replay: Replay, offline: Offline) -> Stages | None:
    """The stages of a final; None for one that came of a cut, or where nobody was heard."""
    final = timed.event
    if not isinstance(final, FinalEvent):
        raise TypeError("not a final")
    over = any(
        isinstance(other.event, SpeechEndedEvent) and abs(other.event.at - final.end) < _SAME
        for other in replay.events
    )
    spoken = offline.speech_end(final.start, final.end)
    if not over or spoken is None:
        return None
    translated = [
        other.time
        for other in replay.events
        if isinstance(other.event, TranslationEvent)
        and other.event.final
        and other.event.segment == final.segment
    ]
    total = timed.time - spoken
    translate = max(translated) - timed.time if translated else None
    call = _last_call(replay.calls, final.segment, timed.time)
    if call is None:
        return Stages(total=total, translate=translate)
    return Stages(
        total=total,
        pause=call.asked - spoken,
        queue=call.began - call.asked,
        encode=call.encode,
        decode=call.done - call.began - call.encode,
        endpoint=timed.time - call.done,
        translate=translate,
    )


def _last_call(calls: Sequence[Call], segment: int, time: float) -> Call | None:
    """The call whose result the final is: the last one for the segment that was not interim."""
    fitting = [
        call
        for call in calls
        if call.segment == segment
        and call.kind == "transcribe"
        and call.priority is Priority.FINAL
        and call.done <= time
    ]
    return max(fitting, key=lambda call: call.revision, default=None)


def by_group(records: Sequence[Record]) -> Mapping[tuple[str, str], list[Record]]:
    """Records by set and language, in order."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.set, record.lang), []).append(record)
    return groups
