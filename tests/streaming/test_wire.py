"""The wire contract: what is read, what is written, and the schema that is published."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming import wire
from streaming.errors import InvalidJson, InvalidMessage, SurtitleError, UnknownType
from streaming.types import Word

SNAPSHOT = Path(__file__).parent / "snapshots" / "protocol.json"


def test_the_published_schema_is_what_was_agreed() -> None:
    """A change of the wire contract must show up in review: update the snapshot by hand."""
    assert wire.schema() == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


def test_a_bare_start_has_the_documented_defaults() -> None:
    start = wire.decode('{"type": "start"}')
    assert isinstance(start, wire.Start)
    assert (start.encoding, start.sample_rate, start.channels) == ("pcm_s16le", 16_000, 1)
    assert (start.source, start.targets, start.interim) == ("auto", [], True)


def test_unknown_fields_are_ignored_and_configure_tells_unset_from_null() -> None:
    message = wire.decode('{"type": "configure", "interim": false, "colour": "red"}')
    assert isinstance(message, wire.Configure)
    assert message.interim is False
    assert message.targets is msgspec.UNSET
    with pytest.raises(InvalidMessage, match="targets"):
        wire.decode('{"type": "configure", "targets": null}')


def test_errors_name_the_field() -> None:
    with pytest.raises(InvalidMessage, match=r"\$\.channels"):
        wire.decode('{"type": "start", "channels": "two"}')
    with pytest.raises(UnknownType, match="start, configure"):
        wire.decode('{"type": "Start"}')


@given(st.text() | st.binary())
def test_garbage_is_told_and_never_crashes(data: str | bytes) -> None:
    with pytest.raises((InvalidJson, InvalidMessage, UnknownType)):
        wire.decode(data)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_any_json_as_a_field_is_read_or_told(value: object) -> None:
    for field in ("encoding", "sample_rate", "targets", "vocabulary", "resume", "room"):
        frame = json.dumps({"type": "start", field: value})
        try:
            assert isinstance(wire.decode(frame), wire.Start)
        except SurtitleError as error:
            assert error.code == "invalid_message"  # noqa: PT017 - either outcome is right


def test_deeply_nested_json_is_told() -> None:
    with pytest.raises(SurtitleError):
        wire.decode('{"type":"start","x":' + "[" * 100_000)


def test_events_carry_type_and_seq_and_omit_what_was_not_asked_for() -> None:
    event = wire.FinalEvent(
        segment=0, start=0.5, end=1.25, language="en", text="Hello.", confidence=0.9
    )
    event.seq = 7
    assert json.loads(wire.encode(event)) == {
        "type": "final",
        "seq": 7,
        "segment": 0,
        "start": 0.5,
        "end": 1.25,
        "language": "en",
        "text": "Hello.",
        "confidence": 0.9,
    }


def test_words_move_to_the_streams_clock() -> None:
    (timing,) = wire.word_timings((Word(" Hello,", 0.1, 0.44444, 0.98765),), 10.0)
    assert timing == wire.WordTiming(text="Hello,", start=10.1, end=10.444, probability=0.988)
