from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from bench.corpus import Clip, Errors
from bench.metrics import Shown, Spoken
from bench.quality import sounds
from bench.quality.offline import Offline
from bench.quality.plots import cumulative
from bench.quality.records import Record, Stages, Steadiness
from bench.quality.report import page
from bench.quality.sets import SETS, Item, items
from bench.quality.summary import judged, summary
from bench.quality.translation import Translated, log, reference, spoken_sentences, write
from bench.replay import Replay, Timed
from inference.fakes import FakeTranslator
from streaming.types import SAMPLE_RATE
from streaming.wire import PartialEvent


def clip(
    name: str, lang: str = "en", *tags: str, text: str | None = "hello", seconds: float = 3
) -> Clip:
    return Clip(name, Path(f"{name}.flac"), lang, text, frozenset(tags), seconds)


def record(name: str = "a", **changes: object) -> Record:
    given = {
        "variant": "default",
        "set": "english",
        "clip": name,
        "lang": "en",
        "tags": (),
        "seconds": 60.0,
        "reference": "",
        "offline": "",
        "streamed": "",
        "languages": ("en",),
        "errors": Errors(100, 5, 3, 2),
        "offline_errors": Errors(100, 5, 3, 1),
        "spoken": 4,
        "first_shown": [0.5, 0.7, 0.9],
        "committed": [1.0, 1.2, 1.4],
        "stages": [Stages(total=0.6, pause=0.1, queue=0.0, encode=0.2, decode=0.1, endpoint=0.2)],
        "cuts": 1,
        "captions": Steadiness(10, 100, 0),
        "translations": Steadiness(),
        "hallucinated": 0,
        "flashed": 0,
        "calls": 7,
        "partials": 5,
        "text_calls": 0,
        "recognition_seconds": 30.0,
        "encode_seconds": 15.0,
        "translated": [],
        **changes,
    }
    return Record(**given)  # type: ignore[arg-type] # a test's defaults, by name


# ---------------------------------------------------------------- sounds and sets


@pytest.mark.parametrize("name", sounds.SOUNDS)
def test_generated_sounds_are_the_same_each_time(name: str) -> None:
    first = sounds.make(name)
    assert first.dtype == np.float32
    assert len(first) == sounds.SECONDS * SAMPLE_RATE
    assert np.max(np.abs(first)) <= 1
    assert np.array_equal(first, sounds.make(name))
    assert np.any(first) == (name != "silence")


@pytest.mark.parametrize(("name", "level"), [("white-40", -40), ("pink-25", -25), ("hum50", -35)])
def test_sounds_have_their_level(name: str, level: float) -> None:
    rms = np.sqrt(np.mean(np.square(sounds.make(name), dtype=np.float64)))
    assert 20 * np.log10(rms) == pytest.approx(level, abs=0.1)


def test_a_recording_goes_on_as_quietly_as_it_was() -> None:
    speech = np.tile(np.repeat(np.array([0.5, 0.001], dtype=np.float32), 1600), 20)
    longer = sounds.with_tail(speech, 1.0)
    tail = longer[len(speech) :]
    assert len(tail) == SAMPLE_RATE
    assert np.array_equal(longer[: len(speech)], speech)
    assert np.sqrt(np.mean(tail**2)) == pytest.approx(0.001, rel=0.05)
    assert np.any(sounds.with_tail(speech[:0]))


def test_sets_have_the_clips_they_are_for() -> None:
    clips = [
        clip("a"),
        clip("b", "en", "dup-audio"),
        clip("c", "en", "concat", "dup-audio", seconds=60),
        clip("d", "de"),
        clip("e", "none", text=""),
        clip("f", "en", text=None),
        clip("g", "pt", seconds=9),
    ]
    chosen = {name: [item.clip.id for item in items(clips, [name])] for name in SETS}
    assert chosen["english"] == ["a"]
    assert chosen["longform"] == ["c"]
    assert chosen["languages"] == ["g", "d"]
    assert chosen["nonspeech"] == ["e", *sounds.SOUNDS]
    assert chosen["translation"] == ["c", "g"]
    with pytest.raises(ValueError, match="no set"):
        items(clips, ["nothing"])


def test_a_limit_takes_clips_evenly() -> None:
    clips = [clip(str(number)) for number in range(10)]
    assert [item.clip.id for item in items(clips, ["english"], 3)] == ["0", "3", "6"]
    assert len(items(clips, ["english"], 20)) == 10


def test_the_end_of_speech_is_the_last_speech_inside_a_span() -> None:
    offline = Offline("", (), ((0.5, 1.0), (1.2, 2.0), (4.0, 5.0)))
    assert offline.speech_end(0.4, 3.0) == 2.0
    assert offline.speech_end(0.4, 1.5) == 1.5
    assert offline.speech_end(2.5, 3.5) is None


# ---------------------------------------------------------------- summary


def test_figures_are_pooled() -> None:
    (row,) = summary([record("a"), record("b", errors=Errors(300, 0, 0, 0))])
    assert row["wer_streamed"] == 2.5
    assert row["wer_offline"] == 9.0
    assert row["wer_difference"] == -6.5
    assert row["first_shown_p50"] == 0.7
    assert row["aligned"] == 0.75
    assert row["final_p50"] == 0.6
    assert (row["finals"], row["cuts"]) == (4, 2)
    assert row["endpoint"] == {"p50": 0.2, "p95": 0.2}
    assert row["erasure"] == 0.1
    assert row["real_time_factor"] == 0.5


def test_targets_are_judged_where_they_apply() -> None:
    slow = record(
        "b",
        set="languages",
        lang="de",
        stages=[Stages(total=2.0)],
        captions=Steadiness(10, 100, 3),
    )
    verdicts = {
        (row["set"], row["target"]): row["met"] for row in judged(summary([record(), slow]))
    }
    assert verdicts["english", "end of speech → final, p50 ≤ 0.6 s"]
    assert verdicts["english", "streamed WER within 1.0 point of offline"]
    assert not verdicts["languages", "end of speech → final, p50 ≤ 0.6 s"]
    assert not verdicts["languages", "erasure of stable text 0"]
    assert ("languages", "streamed WER within 1.0 point of offline") not in verdicts


def test_silence_is_held_apart_from_noise() -> None:
    (row,) = summary(
        [
            record("a", set="nonspeech", lang="none", tags=("silence",), flashed=1),
            record("b", set="nonspeech", lang="none", seconds=30.0, flashed=2, hallucinated=1),
        ]
    )
    assert row["silence_words"] == 1
    assert row["noise_words_per_minute"] == 4.0
    assert {v["target"]: v["met"] for v in judged([row])} == {
        "no words on silence": False,
        "≤ 1 word a minute of noise and music": False,
    }


def test_a_clip_counts_in_a_set_without_translation_as_if_it_had_none() -> None:
    both = record(translations=Steadiness(1, 2, 3), text_calls=4)
    plain = both.as_of(Item("longform", clip("a")))
    assert (plain.set, plain.translations, plain.text_calls) == ("longform", Steadiness(), 0)
    assert both.as_of(Item("translation", clip("a"), ("pt",))).translations.erased == 1


def test_the_page_has_all_variants_and_the_verdicts() -> None:
    rows = summary([record()])
    report = {
        "machine": {"cpu": "abacus", "cores": 2, "ctranslate2": "4", "python": "3.11"},
        "jobs": 1,
        "limit": 3,
        "variants": {"one": "as it is", "two": "partial_ms=300"},
        "figures": {"one": rows, "two": rows},
        "targets": {"one": judged(rows), "two": judged(rows)},
    }
    text = page(report, ["a.svg"])
    assert "abacus" in text
    assert "| english | en | two | " in text
    assert "| met |" in text
    assert "![a.svg](a.svg)" in text
    for line in text.splitlines():
        if line.startswith("|"):
            assert line.endswith("|")


def test_a_plot_is_an_svg_with_a_curve_for_each_series() -> None:
    drawn = ET.fromstring(cumulative("a < b", {"x": [0.1, 9.0], "none": [], "y": [0.5]}))  # noqa: S314 - our own text
    space = "{http://www.w3.org/2000/svg}"
    assert len(drawn.findall(f"{space}polyline")) == 2
    assert "a < b" in (drawn.findtext(f"{space}text") or "")


# ---------------------------------------------------------------- translation


def spoken(text: str) -> tuple[Spoken, ...]:
    return tuple(
        Spoken(word, number + 0.8, float(number)) for number, word in enumerate(text.split())
    )


def test_words_with_times_become_sentences_with_times() -> None:
    found = spoken_sentences(spoken("Good morning. How are you?"), "en")
    assert [(one.text, one.start, one.end) for one in found] == [
        ("Good morning.", 0.0, 1.8),
        ("How are you?", 2.0, 4.8),
    ]
    assert spoken_sentences((), "en") == []


def test_a_log_says_what_appeared_and_what_was_taken_back() -> None:
    partial = PartialEvent(segment=0, start=0, end=1.0, language="en", stable="", unstable="x")
    replay = Replay(events=[Timed(1.4, partial)])
    lines = log(
        [
            Shown(1.5, 0, "", "Bom dia"),
            Shown(1.5, 1, "", "Como"),
            Shown(2.0, 0, "", "Boa tarde"),
            Shown(2.5, 0, "Boa tarde", "", final=True),
        ],
        replay,
    )
    assert [(line.generated_tokens, line.deleted_tokens) for line in lines] == [
        (("Bom", "dia"), ()),
        (("Como",), ()),
        (("Boa", "tarde", "Como"), ("Bom", "dia", "Como")),
    ]
    assert lines[0].total_audio_processed == 1.0
    assert lines[0].computation_time == pytest.approx(0.5)


async def test_the_log_is_written_as_simulstream_reads_it(tmp_path: Path) -> None:
    made = await reference(spoken("Good morning."), "en", "pt", FakeTranslator())
    lines = log([Shown(1.5, 0, "Bom dia", "", final=True)], Replay())
    write({"a": Translated("pt", lines, made)}, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows[0] == {"id": 0, "metadata": {"wav_name": "a.wav"}}
    assert rows[1]["generated_tokens"] == ["Bom", "dia"]
    assert json.loads((tmp_path / "segments.json").read_text()) == [
        {"wav": "a.wav", "offset": 0.0, "duration": 1.8}
    ]
    assert (tmp_path / "reference.txt").read_text() == "[pt] GOOD MORNING.\n"
