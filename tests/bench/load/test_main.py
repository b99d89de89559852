from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.load import __main__ as command
from bench.load.scenarios import Result
from inference.models import SpeechModel
from tests.bench.load.test_scenarios import FakeRuns

MODEL = SpeechModel("base", Path("base"), None, "packages")


def arguments(*given: str) -> argparse.Namespace:
    return command._parser().parse_args(given)


def test_it_must_be_said_what_is_to_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["--manifest", "nowhere.jsonl"])
    assert "--find" in capsys.readouterr().err


def test_a_running_server_is_measured_where_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SURTITLE_KEY", "secret")
    given = arguments("--url", "https://captions.example/", "--find")
    with ExitStack() as stack:
        target = command._target(given, MODEL, tmp_path, stack)
    assert target.url == "wss://captions.example/v1/stream"
    assert target.health == "https://captions.example/health/simple"
    assert target.headers == {"Authorization": "Bearer secret"}
    assert target.pid is None


def test_what_is_found_is_the_capacity_of_what_follows(tmp_path: Path) -> None:
    runs = FakeRuns(holds=3)
    played = dict(
        command._measured(arguments("--find", "--overload", "--soak", "1"), runs, tmp_path)
    )
    assert list(played) == ["find", "overload", "soak"]
    assert played["overload"].verdict["capacity"] == 3
    assert played["soak"].rows[0]["streams"] == 3


def test_a_given_capacity_goes_first(tmp_path: Path) -> None:
    given = arguments("--overload", "--capacity", "2")
    ((_, result),) = command._measured(given, FakeRuns(holds=3), tmp_path)
    assert isinstance(result, Result)
    assert result.verdict["capacity"] == 2


def test_without_a_capacity_there_is_nothing_to_overload(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--capacity"):
        list(command._measured(arguments("--overload"), FakeRuns(holds=3), tmp_path))
