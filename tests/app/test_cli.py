from __future__ import annotations

import asyncio
import json
import logging
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import Result
from websockets.asyncio.client import connect

from app.cli import main
from app.logging import set_level
from app.settings import load
from app.state import opened
from guards.audit import AuditEntry
from guards.jwks import parse_key_set
from inference.fakes import Tones, silence
from streaming.types import SAMPLE_RATE
from tests.app.shell import own_directory, run
from tests.app.support import ADMIN_KEY, admin, rest, running, wav

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_directory(monkeypatch, tmp_path)


def test_help_imports_no_model_library() -> None:
    script = (
        "import sys; from app.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'ctranslate2', 'litestar', 'numpy', 'av', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


@pytest.mark.parametrize("command", list(main.list_commands(click.Context(main))))
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_settings_with_sources_and_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURTITLE_ADMIN_KEY", "very-secret")
    table = run("settings")
    assert table.exit_code == 0
    assert "very-secret" not in table.output
    entries = {entry["variable"]: entry for entry in json.loads(run("settings", "--json").stdout)}
    assert entries["SURTITLE_ADMIN_KEY"]["source"] == "environment"
    assert entries["SURTITLE_PORT"] | {"description": ""} == {
        "variable": "SURTITLE_PORT",
        "value": 8000,
        "source": "default",
        "description": "",
    }


def test_a_wrong_setting_is_one_line_and_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURTITLE_PORT", "eighty")
    for command in (["settings"], ["serve"], ["keys", "list"], ["models", "list"]):
        result = run(*command)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert result.stderr.startswith("SURTITLE_PORT: ")
        assert result.stderr.count("\n") == 1


def test_an_unknown_setting_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SURTITLE_PROT", "1")
    result = run("settings")
    assert result.exit_code == 0
    assert "did you mean SURTITLE_PORT?" in result.stderr


def test_keys_are_created_listed_and_revoked() -> None:
    created = run("keys", "create", "--user", "ana", "--tier", "pro", "--name", "talk", "--json")
    assert created.exit_code == 0
    key = json.loads(created.stdout)
    plain = run("keys", "create", "--user", "rui", "--days", "1")
    assert plain.stdout.startswith("sk_surtitle_")
    assert plain.stdout.count("\n") == 1

    listed = json.loads(run("keys", "list", "--json").stdout)
    assert [one["user_id"] for one in listed] == ["ana", "rui"]
    assert key["api_key"] not in json.dumps(listed)
    assert "valid until" in " ".join(run("keys", "list").stdout.split())

    assert run("keys", "revoke", key["key_id"]).exit_code == 0
    assert json.loads(run("keys", "list", "--json").stdout)[0]["revoked_at"] is not None
    missing = run("keys", "revoke", "key_none")
    assert (missing.exit_code, missing.stderr) == (1, "No API key has this id.\n")


def test_a_key_is_changed_rotated_and_shown() -> None:
    created = run("keys", "create", "--user", "ana", "--limit", "streams=2", "--json")
    key = json.loads(created.stdout)
    assert key["limits"] == {"streams": 2}
    changed = run(
        *("keys", "change", key["key_id"], "--tier", "pro", "--name", "talk"),
        *("--scope", "stream", "--no-limits", "--days", "1"),
    )
    assert changed.exit_code == 0, changed.stderr
    shown = json.loads(run("keys", "show", key["key_id"]).stdout)
    assert shown == json.loads(changed.stdout)
    assert (shown["tier"], shown["name"], shown["scopes"]) == ("pro", "talk", ["stream"])
    assert shown["limits"] == {}
    assert shown["expires_at"] is not None
    for_ever = run("keys", "change", key["key_id"], "--for-ever")
    assert json.loads(for_ever.stdout)["expires_at"] is None
    rotated = json.loads(run("keys", "rotate", key["key_id"], "--json").stdout)
    assert rotated["api_key"] != key["api_key"]
    assert rotated["previous_until"] is not None
    for command in ("show", "change", "rotate"):
        missing = run("keys", command, "key_none")
        assert (missing.exit_code, missing.stderr) == (1, "No API key has this id.\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "--user", "ana", "--limit", "streams"],
        ["create", "--user", "ana", "--limit", "cakes=1"],
        ["change", "key_1", "--limit", "streams=1", "--no-limits"],
        ["change", "key_1", "--days", "1", "--for-ever"],
    ],
)
def test_impossible_changes_of_keys(arguments: list[str]) -> None:
    result = run("keys", *arguments)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


async def test_a_server_is_run_from_the_shell(tmp_path: Path) -> None:
    async with (
        running(tmp_path / "data") as (address, fakes, _),
        connect(f"ws://{address}/v1/stream", additional_headers=admin()) as socket,
    ):
        await socket.send(json.dumps({"type": "start"}))
        session = json.loads(await socket.recv())["session"]
        server = ("--server", f"http://{address}", "--key", ADMIN_KEY)

        async def ask(*arguments: str) -> Result:
            return await asyncio.to_thread(run, *arguments, *server)

        def answer(result: Result) -> Any:
            assert result.exit_code == 0, result.stderr
            # The server's own log shares this process's standard output.
            lines = [line for line in result.stdout.splitlines() if not line.startswith("20")]
            return "\n".join(lines)

        (listed,) = json.loads(answer(await ask("sessions", "list", "--json")))
        assert (listed["id"], listed["user_id"]) == (session, "admin")
        assert session in answer(await ask("sessions", "list"))
        assert "ending" in answer(await ask("sessions", "end", session))
        assert (await rest(socket))[-1]["code"] == "session_closed"
        assert answer(await ask("admin", "cache-clear")) == "0 transcripts, 0 translations"
        fakes.services.breakers.breaker("translator:libre")
        listed = answer(await ask("admin", "breakers"))
        assert listed.startswith("translator:libre: closed since 20")
        assert answer(await ask("admin", "breaker-reset")) == "none was open"
        key_id = fakes.record.key_id
        assert answer(await ask("admin", "limits-reset", "--key-id", key_id)) == "forgotten"
        before = logging.getLogger().level
        assert answer(await ask("admin", "log-level", "error")) == "error"
        assert answer(await ask("admin", "log-level")) == "error"
        set_level("info")
        logging.getLogger().setLevel(before)
        page = json.loads(answer(await ask("admin", "audit", "--json", "--limit", "2")))
        actions = [entry["action"] for entry in page["entries"]]
        assert actions == ["log_level.set", "limits.reset"]
        before_it = str(page["next"])
        older = answer(await ask("admin", "audit", "--before", before_it))
        assert "session.end" in older
        assert "log_level.set" not in older
        assert answer(await ask("admin", "drain")) == "draining; 0 streams are ending"
        refused = await asyncio.to_thread(
            run, "sessions", "list", "--server", f"ws://{address}", "--key", "wrong"
        )
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
        assert refused.stderr.startswith("invalid_credential: ")


def test_signing_keys_are_made_and_rotated(tmp_path: Path) -> None:
    path = tmp_path / "jwt.json"
    for algorithm, there in (("HS256", 1), ("RS256", 2), ("ES256", 2)):
        made = run("admin", "signing-key", str(path), "--algorithm", algorithm)
        assert made.exit_code == 0, made.stderr
        keys = parse_key_set(path.read_bytes(), ours=True)
        assert len(keys) == there
        newest = next(iter(keys))
        assert made.stdout.startswith(newest)
        assert keys[newest].algorithm == algorithm
    assert [key.algorithm for key in keys.values()] == ["ES256", "RS256"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    path.write_text("nonsense")
    refused = run("admin", "signing-key", str(path))
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert path.read_text() == "nonsense"


def test_what_is_done_to_keys_from_the_shell_is_audited(tmp_path: Path) -> None:
    key = json.loads(run("keys", "create", "--user", "ana", "--json").stdout)
    run("keys", "change", key["key_id"], "--limit", "streams=3")
    run("keys", "rotate", key["key_id"])
    run("keys", "revoke", key["key_id"])
    run("keys", "revoke", "key_none")

    async def read() -> list[AuditEntry]:
        async with opened(load(data_dir=tmp_path / "data")) as state:
            return await state.audit.page(before=None, limit=10)

    entries = asyncio.run(read())
    assert [(entry.action, entry.target, entry.outcome) for entry in entries] == [
        ("key.revoke", "key_none", "key_unknown"),
        ("key.revoke", key["key_id"], "done"),
        ("key.rotate", key["key_id"], "done"),
        ("key.change", key["key_id"], "done"),
        ("key.create", key["key_id"], "done"),
    ]
    assert all(entry.user_id.startswith("shell:") for entry in entries)
    assert key["api_key"] not in repr(entries)


def test_a_broken_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "surtitle.db").write_bytes(b"no database" * 100)
    result = run("keys", "list")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1


def test_stream_wants_one_source(tmp_path: Path) -> None:
    assert run("stream").exit_code == 2
    (tmp_path / "a.wav").write_bytes(b"x")
    assert run("stream", "a.wav", "--mic").exit_code == 2
    broken = run("stream", "a.wav")
    assert broken.exit_code == 1
    assert broken.stderr.count("\n") == 1


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(silence(0.5)))
    for arguments in (
        ["stream", "a.wav", "--server", "ws://127.0.0.1:1"],
        ["transcribe", "a.wav", "--server", "http://127.0.0.1:1"],
        ["sessions", "list", "--server", "http://127.0.0.1:1"],
        ["admin", "drain", "--server", "nonsense"],
    ):
        result = run(*arguments)
        assert result.exit_code == 1
        assert "can't be reached" in result.stderr


async def test_transcribe_and_stream_against_a_server(tmp_path: Path) -> None:
    tones = Tones()
    audio = np.concatenate([silence(0.3), tones.speak("Good morning."), silence(0.9)])
    assert len(audio) < 2 * SAMPLE_RATE
    (tmp_path / "a.wav").write_bytes(wav(audio))
    async with running(tmp_path / "data") as (address, _, _):

        def both() -> tuple[Result, Result, Result]:
            return (
                run(
                    *("transcribe", "a.wav", "--to", "pt", "--format", "vtt"),
                    *("--server", f"http://{address}", "--key", ADMIN_KEY),
                ),
                run(
                    *("stream", "a.wav", "--to", "pt", "--language", "en"),
                    *("--server", f"http://{address}", "--key", ADMIN_KEY),
                ),
                run("stream", "a.wav", "--server", f"ws://{address}", "--key", "wrong"),
            )

        transcribed, streamed, refused = await asyncio.to_thread(both)
    assert transcribed.exit_code == 0
    assert "[pt] GOOD MORNING." in transcribed.stdout
    assert streamed.exit_code == 0, streamed.stderr
    # The server's own log shares this process's standard output.
    captions = [line for line in streamed.stdout.splitlines() if not line.startswith("20")]
    assert captions == ["Good morning.", "[pt] [pt] GOOD MORNING."]
    assert refused.exit_code == 1
    assert refused.stderr.startswith("invalid_credential: ")
