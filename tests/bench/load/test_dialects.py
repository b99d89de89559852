from __future__ import annotations

import json
from typing import Any

import pytest

from bench.load.dialects import DIALECTS, Dialect
from bench.metrics import Shown
from streaming import wire


def fed(name: str, *messages: Any) -> Dialect:
    """A dialect that has received messages, at 0, 1, 2 … seconds."""
    dialect = DIALECTS[name]()
    for time, message in enumerate(messages):
        text = message if isinstance(message, str | bytes) else json.dumps(message)
        dialect.receive(float(time), text)
    return dialect


@pytest.mark.parametrize("name", DIALECTS)
def test_no_audio_goes_out_before_the_server_is_ready(name: str) -> None:
    dialect = DIALECTS[name]()
    assert not dialect.ready
    assert not dialect.over
    assert dialect.refused is None
    assert dialect.closing()


# ---------------------------------------------------------------- Surtitle


def surtitle(*events: wire.Event) -> Dialect:
    for number, event in enumerate(events, 1):
        event.seq = number
    return fed("surtitle", *map(wire.encode, events))


READY = wire.ReadyEvent(
    session="s", resume_token=None, limits=wire.Limits(1 << 20, 20.0, 60.0), model="base"
)


def final(segment: int, text: str) -> wire.FinalEvent:
    return wire.FinalEvent(
        segment=segment, start=0, end=1, language="en", text=text, confidence=0.9
    )


def test_surtitle_speaks_the_native_protocol() -> None:
    dialect = surtitle(
        READY,
        wire.SpeechStartedEvent(at=0.1),
        wire.PartialEvent(segment=0, start=0, end=1, language="en", stable="A", unstable=" b"),
        final(0, "A bee."),
        wire.WarningEvent(code="lagging", message="behind"),
        wire.ErrorEvent(
            code="recognition_failed", message="", retryable=True, retry_after=None, fatal=False
        ),
        wire.DoneEvent(audio_seconds=1, segments=1, usage=wire.Usage(1, 6)),
    )
    seen = dialect.transcript
    assert (dialect.ready, dialect.over, dialect.refused) == (True, True, None)
    assert seen.shown == [Shown(2.0, 0, "A", " b"), Shown(3.0, 0, "A bee.", "", final=True)]
    assert seen.text == "A bee."
    assert dict(seen.notices) == {"warning lagging": 1, "error recognition_failed": 1}
    assert wire.decode(dialect.opening()[0]) == wire.Start(source="en")
    assert wire.decode(dialect.closing()[0]) == wire.Stop()


def test_surtitle_refuses_by_an_error_before_it_is_ready() -> None:
    error = wire.ErrorEvent(
        code="draining", message="", retryable=True, retry_after=5.0, fatal=True
    )
    assert surtitle(error).refused == "draining"


# ---------------------------------------------------------------- WhisperLive

SERVER_READY = {"uid": "u", "message": "SERVER_READY", "backend": "faster_whisper"}


def segments(*rows: tuple[str, str, bool]) -> dict[str, Any]:
    return {
        "uid": "u",
        "segments": [
            {"start": start, "end": "9.000", "text": text, "completed": completed}
            for start, text, completed in rows
        ],
    }


def test_whisperlive_completes_a_segment_once_however_often_it_says_so() -> None:
    dialect = fed(
        "whisperlive",
        SERVER_READY,
        segments(("0.000", " in being", False)),
        segments(("0.000", " In being modern.", True), ("3.080", " Produced", False)),
        segments(("0.000", " In being modern.", True), ("3.080", " produced the", False)),
        segments(("0.000", " In being modern.", True), ("3.080", " produced the book.", True)),
    )
    seen = dialect.transcript
    assert dialect.ready
    assert [(one.time, one.segment, one.final) for one in seen.shown] == [
        (1.0, 0, False),
        (2.0, 0, True),
        (2.0, 1, False),
        (3.0, 1, False),
        (4.0, 1, True),
    ]
    assert [one.time for one in seen.finals] == [2.0, 4.0]
    assert seen.text == "In being modern. produced the book."


def test_whisperlive_is_full() -> None:
    dialect = fed("whisperlive", {"uid": "u", "status": "WAIT", "message": 4.2})
    assert (dialect.ready, dialect.refused) == (False, "WAIT")


def test_whisperlive_says_other_things_as_well() -> None:
    dialect = fed(
        "whisperlive",
        SERVER_READY,
        {"uid": "u", "language": "en", "language_prob": 0.98},
        {"uid": "u", "status": "WARNING", "message": "No audio"},
        {"uid": "u", "message": "DISCONNECT"},
    )
    assert (dialect.refused, dialect.over) == (None, True)
    assert dict(dialect.transcript.notices) == {"status WARNING": 1}


def test_whisperlive_wants_floats_and_silence() -> None:
    dialect = DIALECTS["whisperlive"]()
    (options,) = map(json.loads, dialect.opening())
    assert options["task"] == "transcribe"
    assert options["language"] == "en"
    assert (dialect.encoding, dialect.closing()) == ("f32", [b"END_OF_AUDIO"])
    assert dialect.tail[0] >= 12


# ---------------------------------------------------------------- WhisperLiveKit

CONFIG = {"type": "config", "useAudioWorklet": True, "mode": "full"}


def lines(*texts: str | None, buffer: str = "") -> dict[str, Any]:
    return {
        "status": "active_transcription" if texts else "no_audio_detected",
        "lines": [
            {"speaker": 1, "text": text, "start": "0:00:00.00", "end": "0:00:01.64"}
            for text in texts
        ],
        "buffer_transcription": buffer,
        "buffer_diarization": "",
        "remaining_time_transcription": 0.4,
    }


def test_whisperlivekit_repeats_itself_and_only_changes_count() -> None:
    dialect = fed(
        "whisperlivekit",
        CONFIG,
        lines(),
        lines(buffer=" Being"),
        lines(" Being", buffer=" modern."),
        lines(" Being", buffer=" modern."),
        lines(" Being modern."),
        {"type": "ready_to_stop"},
    )
    seen = dialect.transcript
    assert (dialect.ready, dialect.over) == (True, True)
    assert seen.shown == [
        Shown(2.0, 0, "", " Being"),
        Shown(3.0, 0, " Being", " modern."),
        Shown(5.0, 0, " Being modern.", ""),
    ]
    assert [(one.time, one.text) for one in seen.finals] == [
        (3.0, " Being"),
        (5.0, " Being modern."),
    ]
    assert seen.text == "Being modern."


def test_the_buffer_is_behind_the_last_line() -> None:
    dialect = fed("whisperlivekit", CONFIG, lines(" One.", None, " Two", buffer=" three"))
    shown = dialect.transcript.shown
    assert [(one.segment, one.text) for one in shown] == [(0, " One."), (2, " Two three")]
    assert dialect.transcript.text == "One. Two"


def test_whisperlivekit_complains() -> None:
    dialect = fed(
        "whisperlivekit", CONFIG, {"status": "error", "error": "FFmpeg failed", "lines": []}
    )
    assert dict(dialect.transcript.notices) == {"error FFmpeg failed": 1}
