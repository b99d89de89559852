"""``surtitle backup``: of the data directory, whether or not a server runs on it."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli.common import USAGE, fail, load_settings, on_state, shell_entry
from app.settings import Settings
from guards.backup import BackupError, Manifest, create, restore

_folder = click.argument("folder", type=click.Path(path_type=Path))


@click.group("backup")
def command() -> None:
    """Copy keys, usage and audit log while serving, and put them back."""


@command.command("create")
@_folder
@click.option("--without-pepper", is_flag=True, help="Leave the pepper out, to be kept apart.")
def make(folder: Path, *, without_pepper: bool) -> None:
    """Copy the state into FOLDER, which must not be there yet. The server may be running."""
    settings = _embedded()
    try:
        manifest = create(
            settings.data_dir,
            folder,
            pepper=_pepper(settings),
            with_pepper=not without_pepper,
        )
    except BackupError as error:
        fail(str(error))
    _note("backup.create", folder)
    click.echo(f"{_size(manifest)}, in {folder}")
    if "pepper" not in manifest.sha256:
        click.echo("the pepper is not in it: keep that as well, apart from it", err=True)


@command.command("restore")
@_folder
@click.option("--replace", is_flag=True, help="Replace what is there; it is kept beside.")
def put_back(folder: Path, *, replace: bool) -> None:
    """Put the state of FOLDER into the data directory. No server may be running on it."""
    settings = _embedded()
    try:
        manifest = restore(folder, settings.data_dir, pepper=_pepper(settings), replace=replace)
    except BackupError as error:
        fail(str(error))
    _note("backup.restore", folder)
    click.echo(f"{_size(manifest)} of {manifest.created_at:%Y-%m-%d %H:%M} UTC are back")


def _embedded() -> Settings:
    settings = load_settings()
    if settings.redis_url is not None:
        fail(
            "REDIS_URL: the state is in Redis; back that up as docs/deployment.md says",
            USAGE,
        )
    return settings


def _pepper(settings: Settings) -> bytes | None:
    return settings.pepper.get_secret_value().encode() if settings.pepper else None


def _note(action: str, folder: Path) -> None:
    entry = shell_entry(action, str(folder.absolute()))
    on_state(lambda state: state.audit.append(entry))


def _size(manifest: Manifest) -> str:
    return f"{manifest.keys} keys, with usage and audit log"
