"""How late and how good streamed translations are, in the field's own form and with its tools.

What was shown becomes a log as simulstream's server writes it (words that appeared and words that
were taken back, each time with the audio heard by then), which OmniSTEval and simulstream read.
There are no reference translations of these recordings: the reference is what the same engine
makes, sentence by sentence, of the offline transcript. So quality here is agreement with the
offline result, not with a human translator.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.metrics import Shown, Spoken, common_prefix
from bench.replay import Replay
from inference.sentences import sentences as split
from streaming.ports import Translator
from streaming.types import Priority, TranslationJob
from streaming.wire import FinalEvent, PartialEvent

_CONFIG = "detokenizer_type: simuleval\nlatency_unit: word\n"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence and when it was said, in seconds."""

    text: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class LogLine:
    """One change of the screen, as simulstream logs it."""

    total_audio_processed: float
    """Seconds of audio that had been heard when the change was decided on."""
    computation_time: float
    """Seconds from then until it was on screen."""
    generated_tokens: tuple[str, ...]
    deleted_tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Translated:
    """A clip's translation as it was shown, and what it is compared with."""

    target: str
    lines: tuple[LogLine, ...]
    reference: tuple[Sentence, ...]


def spoken_sentences(words: Sequence[Spoken], language: str) -> list[Sentence]:
    """Words with times as sentences."""
    text = " ".join(item.word for item in words)
    found: list[Sentence] = []
    at = 0
    for raw in split(text, language):
        count = len(raw.split())
        if count:
            told = words[at : at + count]
            found.append(Sentence(raw.strip(), told[0].start, told[-1].end))
            at += count
    return found


async def reference(
    words: Sequence[Spoken], language: str, target: str, translator: Translator
) -> tuple[Sentence, ...]:
    """What the engine makes of the offline transcript, sentence by sentence."""
    made = []
    for number, one in enumerate(spoken_sentences(words, language)):
        job = TranslationJob("reference", number, 1, one.text, language, target, Priority.FINAL)
        text = (await translator.translate(job)).text.strip()
        if text and one.end > one.start:
            made.append(Sentence(text, one.start, one.end))
    return tuple(made)


def log(history: Sequence[Shown], replay: Replay) -> tuple[LogLine, ...]:
    """The changes of one target's screen: all its segments' texts in order."""
    lines: list[LogLine] = []
    screen: dict[int, list[str]] = {}
    before: list[str] = []
    for shown in history:
        screen[shown.segment] = shown.text.split()
        after = [word for number in sorted(screen) for word in screen[number]]
        kept = common_prefix(before, after)
        if before != after:
            heard = min(_heard(shown, replay), shown.time)
            lines.append(
                LogLine(
                    total_audio_processed=round(heard, 3),
                    computation_time=round(shown.time - heard, 3),
                    generated_tokens=tuple(after[kept:]),
                    deleted_tokens=tuple(before[kept:]),
                )
            )
        before = after
    return tuple(lines) or (LogLine(0.0, 0.0, (), ()),)


def _heard(shown: Shown, replay: Replay) -> float:
    """How much audio a translation rests on: that of the caption shown last before it."""
    heard = 0.0
    for timed in replay.events:
        if timed.time > shown.time:
            break
        match timed.event:
            case PartialEvent(segment=shown.segment, end=end):
                heard = end
            case FinalEvent(segment=shown.segment):
                asked = [call.asked for call in replay.calls if call.segment == shown.segment]
                heard = max([heard, *(time for time in asked if time <= timed.time)])
    return heard


def write(clips: Mapping[str, Translated], folder: Path) -> None:
    """Log, references and their times, as OmniSTEval and simulstream read them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[Any] = []
    spans: list[Any] = []
    texts: list[str] = []
    for number, (clip, translated) in enumerate(clips.items()):
        rows.append({"id": number, "metadata": {"wav_name": f"{clip}.wav"}})
        rows += [{"id": number, **msgspec.to_builtins(line)} for line in translated.lines]
        for one in translated.reference:
            spans.append(
                {"wav": f"{clip}.wav", "offset": one.start, "duration": one.end - one.start}
            )
            texts.append(one.text)
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (folder / "segments.json").write_text(json.dumps(spans), "utf-8")
    (folder / "reference.txt").write_text("".join(text + "\n" for text in texts), "utf-8")
    (folder / "config.yaml").write_text(_CONFIG, "utf-8")


def score(folder: Path, target: str, tools: Path) -> dict[str, float]:
    """The scores of a log. ``tools`` is the ``bin`` folder where the two packages are installed.

    Raises ``subprocess.CalledProcessError`` or ``OSError`` when a tool can't do it.
    """
    omnisteval = [
        *(str(tools / "omnisteval"), "longform", "--lang", target, "--word_level"),
        *("--speech_segmentation", str(folder / "segments.json")),
        *("--ref_sentences_file", str(folder / "reference.txt")),
        *("--hypothesis_file", str(folder / "log.jsonl")),
        *("--hypothesis_format", "simulstream"),
        *("--simulstream_config_file", str(folder / "config.yaml")),
        *("--output_folder", str(folder)),
    ]
    _run(omnisteval)
    with (folder / "scores.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    scores = {row["metric"]: float(row["value"]) for row in rows if _is_number(row["value"])}
    latency = [
        *(str(tools / "simulstream_score_latency"), "--scorer", "stream_laal"),
        *("--eval-config", str(folder / "config.yaml")),
        *("--log-file", str(folder / "log.jsonl")),
        *("--audio-definition", str(folder / "segments.json")),
        *("--reference", str(folder / "reference.txt")),
    ]
    found = re.findall(r"(\w+)=([-\d.]+)", _run(latency))
    return {**scores, **{f"StreamLAAL {name}": float(value) for name, value in found}}


def _run(command: Iterable[str]) -> str:
    done = subprocess.run(list(command), check=True, capture_output=True, text=True)
    return done.stdout


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text) is not None
