"""``surtitle transcribe``: a file, in this process or by a server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import click

from app.cli.common import USAGE, fail, load_settings
from app.settings import Settings, SettingsError
from streaming.errors import SurtitleError

_FORMATS: Final = {"txt": "text", "srt": "srt", "vtt": "vtt", "json": "verbose_json"}
_TIMEOUT_SECONDS: Final = 3600.0


@click.command("transcribe")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--language", help="What is spoken; found out if not given.")
@click.option("--to", "target", help="Language to translate into.")
@click.option(
    "--format", "form", type=click.Choice(sorted(_FORMATS)), default="txt", show_default=True
)
@click.option("--server", help="Let this server do it: http://host:port")
@click.option("--key", envvar="SURTITLE_KEY", help="API key for the server (SURTITLE_KEY).")
def command(
    file: Path,
    language: str | None,
    target: str | None,
    form: str,
    server: str | None,
    key: str | None,
) -> None:
    """Transcribe FILE, any common audio or video, to the standard output."""
    if server is None:
        text = _here(load_settings(), file, language, target, form)
    else:
        text = _there(server, key, file, language, target, form)
    click.echo(text.rstrip("\n"))


def _here(
    settings: Settings, file: Path, language: str | None, target: str | None, form: str
) -> str:
    from app.offline import transcribe_file

    try:
        return asyncio.run(
            transcribe_file(
                settings,
                file,
                language=language,
                target=target,
                form=form,
                progress=lambda line: click.echo(line, err=True),
            )
        )
    except SurtitleError as error:
        fail(error.message)
    except SettingsError as error:
        fail(str(error), USAGE)


def _there(
    server: str, key: str | None, file: Path, language: str | None, target: str | None, form: str
) -> str:
    import httpx

    from app.cli.api import refusal

    fields = {"format": _FORMATS[form]}
    fields |= {"language": language} if language else {}
    fields |= {"target": target} if target else {}
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        with file.open("rb") as content:
            response = httpx.post(
                f"{server.rstrip('/')}/transcribe/audio",
                data=fields,
                files={"file": ("audio", content, "application/octet-stream")},
                headers=headers,
                timeout=_TIMEOUT_SECONDS,
            )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"{server} can't be reached: {error}")
    if response.is_success:
        return response.text
    return fail(refusal(server, response))
