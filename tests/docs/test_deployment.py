"""The steps of docs/deployment.md, as far as a test may take them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_examples import ROOT, blocks
from tests.ops.proxy import VARIABLES, render
from tests.redis_server import running_redis

DOCUMENT = "docs/deployment.md"


def run(block: str, folder: Path, **variables: str) -> str:
    """What a block does, with this project's commands, in a root of its own."""
    for place in ("/etc", "/var/backups", "/var/log"):
        block = block.replace(f"{place}/", f"{folder}{place}/")
        (folder / place[1:]).mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["/bin/sh", "-eu", "-c", block],
        cwd=ROOT,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_file_that_is_named_is_there() -> None:
    text = (ROOT / DOCUMENT).read_text(encoding="utf-8")
    named = set(re.findall(r"deploy/[\w./@-]*\w", text))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_a_backup_is_made_and_restored(tmp_path: Path) -> None:
    (backup,) = blocks(DOCUMENT, "sh backup")
    (restore,) = blocks(DOCUMENT, "sh restore")
    here, there = ({"SURTITLE_DATA_DIR": str(tmp_path / name)} for name in ("here", "there"))
    run("surtitle keys create --user anna", tmp_path, **here)
    assert "1 keys" in run(backup, tmp_path, **here)
    assert "1 keys" in run(restore, tmp_path, **there)
    assert "anna" in run("surtitle keys list", tmp_path, **there)


@pytest.mark.ops
def test_nginx_is_set_up_as_it_is_tested(tmp_path: Path) -> None:
    (block,) = blocks(DOCUMENT, "sh nginx")
    (tmp_path / "etc/nginx/conf.d").mkdir(parents=True)
    run(block, tmp_path)
    written = (tmp_path / "etc/nginx/conf.d/surtitle.conf").read_text(encoding="utf-8")
    exported = dict(re.findall(rf"\b({'|'.join(VARIABLES)})=(\S+)", block))
    places = {name: re.sub(r"^/", f"{tmp_path}/", value) for name, value in exported.items()}
    render(tmp_path, **places)
    assert (tmp_path / "surtitle.conf").read_text(encoding="utf-8") == written
    upstream = (tmp_path / "etc/nginx/surtitle.upstream.conf").read_text(encoding="utf-8")
    assert upstream.count("server 127.0.0.1:800") == 2


@pytest.mark.redis
def test_a_copy_of_redis_is_restored(tmp_path: Path) -> None:
    """The steps of the document, in its order: what was told before the copy is there again."""
    (block,) = blocks(DOCUMENT, "sh redis")
    with running_redis(tmp_path / "old") as old:
        variables = {
            "SURTITLE_PEPPER": "a pepper that is set, of 32 or more",
            "SURTITLE_DATA_DIR": str(tmp_path / "data"),
        }
        run("surtitle keys create --user anna", tmp_path, REDIS_URL=old.url, **variables)
        run(block.replace("redis-cli", f"redis-cli -p {old.port}"), tmp_path)
    copy = tmp_path / "var/backups/surtitle.rdb"
    (tmp_path / "new").mkdir()
    copy.rename(tmp_path / "new" / "dump.rdb")
    with running_redis(tmp_path / "new", append=False) as new:
        assert new.ask("CONFIG SET appendonly yes").startswith("+OK")
        while "aof_rewrite_in_progress:0" not in new.ask("INFO persistence"):
            pass
    with running_redis(tmp_path / "new") as again:
        listed = run("surtitle keys list", tmp_path, REDIS_URL=again.url, **variables)
    assert "anna" in listed
