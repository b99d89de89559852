"""``surtitle backup`` and ``surtitle health``, beside a server that serves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import pytest
from click.testing import Result

from tests.app.shell import own_directory, run
from tests.app.support import admin, running
from tests.app.test_tls import certificate
from tests.redis_server import free_port


@pytest.fixture(autouse=True)
def _own_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    own_directory(monkeypatch, tmp_path)


def last_line(result: Result) -> str:
    """The server's own log shares this process's standard output."""
    return result.stdout.splitlines()[-1]


async def test_keys_come_back_and_open_the_server_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path / "data") as (address, fakes, _):
        made = await asyncio.to_thread(run, "backup", "create", "backup")
        assert made.exit_code == 0, made.stderr
        assert last_line(made) == "2 keys, with usage and audit log, in backup"
        held = await asyncio.to_thread(run, "backup", "restore", "backup", "--replace")
        assert (held.exit_code, held.stderr.count("\n")) == (1, 1)
        assert "stop the server first" in held.stderr
        async with httpx.AsyncClient(base_url=f"http://{address}") as http:
            audit = (await http.get("/admin/audit", headers=admin())).json()
        assert audit["entries"][0]["action"] == "backup.create"
        assert audit["entries"][0]["user_id"].startswith("shell:")

    monkeypatch.setenv("SURTITLE_DATA_DIR", str(tmp_path / "elsewhere"))
    back = await asyncio.to_thread(run, "backup", "restore", "backup")
    assert back.exit_code == 0, back.stderr
    assert last_line(back).startswith("2 keys, ")
    key = {"Authorization": f"Bearer {fakes.key}"}
    async with (
        running(tmp_path / "elsewhere") as (address, _, _),
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        assert (await http.get("/v1/usage", headers=key)).status_code == 200
        audit = (await http.get("/admin/audit", headers=admin())).json()
        assert "backup.restore" in [entry["action"] for entry in audit["entries"]]


def test_a_pepper_is_left_out_when_told_or_when_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("keys", "create", "--user", "ana").exit_code == 0
    made = run("backup", "create", "apart", "--without-pepper")
    assert made.exit_code == 0, made.stderr
    assert "the pepper is not in it" in made.stderr
    assert not Path("apart/pepper").exists()
    monkeypatch.setenv("SURTITLE_PEPPER", "a pepper that is set, of 32 or more")
    assert "the pepper is not in it" in run("backup", "create", "set").stderr


def test_state_in_redis_is_for_redis_to_back_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    for verb in ("create", "restore"):
        refused = run("backup", verb, "backup")
        assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
        assert refused.stderr.startswith("REDIS_URL: ")


def test_there_is_nothing_to_back_up_yet() -> None:
    refused = run("backup", "create", "backup")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert not Path("data").exists()


async def test_health_is_for_supervisors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(tmp_path / "data") as (address, fakes, _):
        monkeypatch.setenv("SURTITLE_HOST", "0.0.0.0")
        monkeypatch.setenv("SURTITLE_PORT", address.rpartition(":")[2])
        ready = await asyncio.to_thread(run, "health")
        assert (ready.exit_code, last_line(ready)) == (0, "ok")
        fakes.services.draining = True
        draining = await asyncio.to_thread(run, "health")
        assert (draining.exit_code, last_line(draining)) == (1, "draining")
    monkeypatch.setenv("SURTITLE_PORT", str(free_port()))
    away = run("health", "--timeout", "1")
    assert (away.exit_code, away.stderr.count("\n")) == (1, 1)


async def test_health_over_tls_trusts_the_server_s_own_certificate_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain, key = certificate(tmp_path)
    other, _ = certificate(tmp_path, "other")
    async with running(tmp_path / "data", ssl_certfile=chain, ssl_keyfile=key) as (address, _, _):
        monkeypatch.setenv("SURTITLE_PORT", address.rpartition(":")[2])
        monkeypatch.setenv("SURTITLE_SSL_CERTFILE", str(chain))
        monkeypatch.setenv("SURTITLE_SSL_KEYFILE", str(key))
        ready = await asyncio.to_thread(run, "health")
        assert (ready.exit_code, last_line(ready)) == (0, "ok"), ready.stderr
        monkeypatch.setenv("SURTITLE_SSL_CERTFILE", str(other))
        strange = await asyncio.to_thread(run, "health")
        assert strange.exit_code == 1
        assert "certificate verify failed" in strange.stderr
