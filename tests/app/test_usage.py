from __future__ import annotations

import asyncio
import csv
import io
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from app.cli import main
from app.usage_report import COLUMNS, as_csv, summed
from guards.usage import Amount, Charge, DayUsage
from inference.fakes import Tones, silence
from tests.app.support import Fakes, admin, client, wav

TODAY = datetime.now(UTC).date()
A, B = date(2026, 11, 24), date(2026, 11, 25)

USAGE = [
    DayUsage(A, "key_1", "ana", Amount(1_500, 10, 1)),
    DayUsage(A, "key_2", "ana", Amount(2_000, 0, 1)),
    DayUsage(B, "key_1", "ana", Amount(500, 5, 2)),
    DayUsage(B, "key_3", "=cmd()", Amount(0, 7, 1)),
]


def test_usage_is_summed_by_user_key_and_day() -> None:
    assert [(row.user_id, row.audio_seconds, row.characters) for row in summed(USAGE, "user")] == [
        ("=cmd()", 0.0, 7),
        ("ana", 4.0, 15),
    ]
    assert [(row.key_id, row.requests) for row in summed(USAGE, "key")] == [
        ("key_3", 1),
        ("key_1", 3),
        ("key_2", 1),
    ]
    assert [(row.key_id, row.day) for row in summed(USAGE, "day")] == [
        ("key_3", B),
        ("key_1", A),
        ("key_1", B),
        ("key_2", A),
    ]


def test_csv_holds_no_formula() -> None:
    rows = list(csv.reader(io.StringIO(as_csv(summed(USAGE, "day")))))
    assert tuple(rows[0]) == COLUMNS
    assert rows[1] == ["'=cmd()", "key_3", "2026-11-25", "0.0", "7", "1"]
    assert rows[2] == ["ana", "key_1", "2026-11-24", "1.5", "10", "1"]


async def test_a_key_sees_its_own_usage(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, fakes):
        text = {"text": ["Hello.", "Goodbye."], "source": "en", "target": "pt"}
        for _ in range(2):  # from the cache or not
            assert (await http.post("/translate/text", json=text)).status_code == 200
        audio = Tones().speak("alpha bravo")
        form = {"language": "en", "target": "pt"}
        answer = await http.post(
            "/transcribe/audio", data=form, files={"file": ("x.wav", wav(audio))}
        )
        assert answer.status_code == 200, answer.text
        mine = (await http.get("/v1/usage")).json()
        expected = {
            "audio_seconds": pytest.approx(len(audio) / 16_000, abs=0.001),
            "characters": 2 * len("Hello.Goodbye.") + len("alpha bravo"),
            "requests": 3,
        }
        assert mine["today"] == expected
        assert mine["month"] == expected
        assert mine["days"] == [expected | {"day": TODAY.isoformat()}]
        assert (mine["key_id"], mine["user_id"]) == (fakes.record.key_id, "ana")
        assert (mine["tier"], mine["limits"]["streams"]) == ("pro", 20)
        tomorrow = TODAY + timedelta(days=1)
        assert mine["resets_at"] == f"{tomorrow.isoformat()}T00:00:00Z"


async def test_audio_that_was_not_transcribed_is_not_paid_for(tmp_path: Path) -> None:
    async with client(tmp_path) as (http, _):
        for data in (b"no sound", wav(silence(1.0))[:20]):
            answer = await http.post("/transcribe/audio", files={"file": ("x.wav", data)})
            assert 400 <= answer.status_code < 500
        assert (await http.get("/v1/usage")).json()["today"]["audio_seconds"] == 0


async def test_administrators_see_everybodys(tmp_path: Path) -> None:
    async with client(tmp_path, Fakes()) as (http, fakes):
        usage = fakes.services.metering.usage
        for one in USAGE:
            await usage.book(Charge(one.key_id, one.user_id, one.day, one.amount))
        query = {"first": "2026-11-24", "last": "2026-11-25"}
        report = (await http.get("/admin/usage", params=query, headers=admin())).json()
        assert report["first"] == "2026-11-24"
        assert [(row["user_id"], row["audio_seconds"]) for row in report["rows"]] == [
            ("=cmd()", 0.0),
            ("ana", 4.0),
        ]
        query |= {"user": "ana", "by": "day", "format": "csv"}
        answer = await http.get("/admin/usage", params=query, headers=admin())
        assert answer.headers["content-type"].startswith("text/csv")
        assert "usage-2026-11-24-2026-11-25.csv" in answer.headers["content-disposition"]
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [(row["key_id"], row["day"]) for row in rows] == [
            ("key_1", "2026-11-24"),
            ("key_1", "2026-11-25"),
            ("key_2", "2026-11-24"),
        ]
        assert (await http.get("/admin/usage")).status_code == 403


@pytest.mark.parametrize(
    "query",
    [
        {"first": "2026-11-26", "last": "2026-11-25"},
        {"first": "2020-01-01", "last": "2026-11-25"},
        {"first": "yesterday"},
        {"by": "colour"},
        {"format": "xml"},
    ],
)
async def test_a_period_that_is_none(tmp_path: Path, query: dict[str, str]) -> None:
    async with client(tmp_path) as (http, _):
        answer = await http.get("/admin/usage", params=query, headers=admin())
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_request")


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        async with client(tmp_path) as (http, _):
            text = {"text": "Hello.", "source": "en", "target": "pt"}
            assert (await http.post("/translate/text", json=text)).status_code == 200

    asyncio.run(use())
    monkeypatch.setenv("SURTITLE_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def usage(*options: str) -> str:
        done = CliRunner().invoke(main, ["usage", *options])
        assert done.exit_code == 0, done.output
        return done.stdout

    (row,) = json.loads(usage("--json", "--by", "day"))
    assert (row["user_id"], row["characters"], row["requests"]) == ("ana", 6, 1)
    assert row["day"] == TODAY.isoformat()
    assert usage("--csv").splitlines()[1] == "ana,,,0.0,6,1"
    assert "ana" in usage()
    assert usage("--csv", "--user", "rui").splitlines()[1:] == []
    assert usage("--csv", "--to", "2020-01-31").splitlines()[1:] == []
    wrong = CliRunner().invoke(main, ["usage", "--from", "2026-02-02", "--to", "2026-02-01"])
    assert (wrong.exit_code, wrong.stderr) == (2, "2026-02-02 is after 2026-02-01\n")
