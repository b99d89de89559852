"""What the documents show is true."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import soundfile

from streaming import wire
from streaming.types import SAMPLE_RATE
from tests.e2e.server import serving
from tests.speech import audioeval_clips

ROOT = Path(__file__).parents[2]


def blocks(document: str, info: str) -> list[str]:
    """The fenced blocks of a document with this info string."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(rf"^```{re.escape(info)}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", blocks("docs/protocol.md", "json client"))
def test_client_messages_are_understood_whole(example: str) -> None:
    message = wire.decode(example)
    fields = {field.name for field in msgspec.structs.fields(message)}
    assert set(json.loads(example)) - {"type"} <= fields


@pytest.mark.parametrize("example", blocks("docs/protocol.md", "json server"))
def test_server_events_are_of_the_schema(example: str) -> None:
    event = msgspec.json.decode(example, type=wire.ServerEvent)
    assert msgspec.to_builtins(event) | json.loads(example) == msgspec.to_builtins(event)


def test_every_message_has_an_example() -> None:
    shown = {
        json.loads(block)["type"]
        for direction in ("client", "server")
        for block in blocks("docs/protocol.md", f"json {direction}")
    }
    tags = {
        struct.__struct_config__.tag
        for union in (wire.ClientMessage, wire.ServerEvent)
        for struct in union.__args__
    }
    assert shown == tags


def test_links_lead_somewhere() -> None:
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    links = [
        (document, target)
        for document in documents
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8"))
        if "://" not in target
    ]
    broken = [(d.name, target) for d, target in links if not (d.parent / target).exists()]
    assert broken == []


@pytest.mark.e2e
def test_the_client_of_the_readme_works(tmp_path: Path) -> None:
    (source,) = blocks("README.md", "python client")
    script = tmp_path / "client.py"
    script.write_text(source, encoding="utf-8")
    clip = next(clip for clip in audioeval_clips("en") if "fox" in clip.id)
    talk = tmp_path / "talk.wav"
    soundfile.write(talk, clip.audio(), SAMPLE_RATE, subtype="PCM_16")
    with serving(tmp_path) as server:
        done = subprocess.run(
            [sys.executable, str(script), str(talk), server.stream_url],
            env={"SURTITLE_KEY": server.key},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert "fox" in done.stdout.lower()
    assert "raposa" in done.stdout.lower()
